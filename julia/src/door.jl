# The door: call a function by name, collect what it logs, turn what it throws into text.

"""Keeps the messages of level Warn and above: MPIReco.jl only logs what it could not do."""
struct Collector <: AbstractLogger
    messages::Vector{String}
end
Logging.min_enabled_level(::Collector) = Logging.Warn
Logging.shouldlog(::Collector, arguments...) = true
Logging.catch_exceptions(::Collector) = true
function Logging.handle_message(c::Collector, level, message, arguments...; keywords...)
    push!(c.messages, valid(string(message)))
    return nothing
end

"""A setting that MPIReco.jl does not know, or not with this value."""
struct UnknownSetting <: Exception
    message::String
end
Base.showerror(io::IO, e::UnknownSetting) = print(io, e.message)

"""
    through(name, arguments...) -> (value, report)

Call the exported function `name`. `report` is TOML text with `warnings`, the messages that were logged, and, if the
function threw (then `value` is `nothing`), `error` with `kind`, `message` and `trace`.
"""
function through(name::String, arguments...)
    collector = Collector(String[])
    report = Dict{String,Any}()
    value = nothing
    try
        value = with_logger(collector) do
            getfield(MPIBridge, Symbol(name))(arguments...)
        end
    catch exception
        report["error"] = Dict(
            "kind" => string(nameof(typeof(exception))),
            "message" => valid(sprint(showerror, exception)),
            "trace" => valid(sprint(Base.show_backtrace, catch_backtrace())),
        )
    end
    report["warnings"] = collector.messages
    return value, sprint(TOML.print, report)
end

"""
    watch(address)

A callback of MPIReco.jl that writes frame and iteration into the first two of three Int64 at `address` and stops the
reconstruction when the third is not zero.
"""
function watch(address::Int)
    buffer = unsafe_wrap(Array, Ptr{Int64}(address), 3)
    return function (solver, frame, iteration)
        buffer[1] = frame
        buffer[2] = iteration
        buffer[3] == 0 || error("cancelled")
        return nothing
    end
end

"""Versions of Julia and of the packages, and where they come from, as TOML text."""
function versions()
    packages = Dict(
        string(nameof(package)) => string(pkgversion(package)) for
        package in (AbstractImageReconstruction, MPIFiles, MPIReco, RegularizedLeastSquares)
    )
    return sprint(
        TOML.print,
        Dict(
            "julia" => string(VERSION),
            "executable" => joinpath(Sys.BINDIR, "julia"),
            "depot" => first(DEPOT_PATH),
            "project" => something(Base.active_project(), ""),
            "threads" => Threads.nthreads(),
            "packages" => packages,
        ),
    )
end

# TOML text into the types that MPIFiles.jl and MPIReco.jl want, and back.

"""Vectors with the type of their elements, numbers as `Int` if all of them are; anything else as it is."""
typed(value) = value
function typed(value::AbstractVector)
    all(x -> x isa Bool, value) && !isempty(value) && return Vector{Bool}(value)
    all(x -> x isa Integer, value) && return Vector{Int}(value)
    all(x -> x isa Real, value) && return Vector{Float64}(value)
    all(x -> x isa AbstractString, value) && return Vector{String}(value)
    throw(UnknownSetting("a list of numbers or of texts is wanted, found $value"))
end

"""Text without the bytes that are no Unicode, which TOML cannot hold."""
valid(text::AbstractString) = isvalid(text) ? String(text) : filter(isvalid, String(text))

plain(x) = string(x)  # versions, identifiers, names
plain(x::Bool) = Int(x)  # MDF has no Booleans
plain(x::Integer) = Int(x)
plain(x::AbstractFloat) = Float64(x)
plain(x::AbstractString) = valid(x)
plain(x::DateTime) = Dates.format(x, dateformat"yyyy-mm-ddTHH:MM:SS.sss")
plain(x::Tuple) = [plain(v) for v in x]
plain(x::AbstractVector) = [plain(v) for v in x]
plain(x::AbstractArray) = [plain(selectdim(x, ndims(x), i)) for i in axes(x, ndims(x))]  # last axis outermost
