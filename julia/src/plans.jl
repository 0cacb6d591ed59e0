# Reconstruction with the plans of MPIReco.jl: everything but text and numbers is built here.

const SOLVERS = ("Kaczmarz", "CGNR", "FISTA", "OptISTA", "POGM", "ADMM", "SplitBregman")
const NORMALIZATIONS = ("SystemMatrixBased", "MeasurementBased", "No")
const WATCHED = ("SinglePatch", "SinglePatchSparse", "MultiPatch")  # the other plans take no callback

"""What RegularizedLeastSquares.jl calls `name` * `suffix`, if it is one of the `known`."""
function chosen(known, name::String, suffix::String="")
    name in known || throw(UnknownSetting("unknown $name (known: $(join(known, ", ")))"))
    return getfield(RegularizedLeastSquares, Symbol(name, suffix))
end

"""
    reconstruct_plan(plan, measurement, calibrations, settings, progress) -> (image, x, y, z, time)

Run a plan of MPIReco.jl on files. measurement: a path; calibrations: paths, one per line. settings: MPIReco's own
parameters, of which these are built here: `solver`, `normalizeReg`, `reg`, `bgParams`, `weightingParams`, `gridding`,
`rows` (bins and receivers instead of a filter). `save`: also write the image with `saveRecoData`. progress: address
for `watch`, or 0.
Returns the image (contrast, x, y, z, frame) Float32, axes in millimetres and seconds.
"""
function reconstruct_plan(
    plan::String, measurement::String, calibrations::String, settings::String, progress::Int
)
    s = TOML.parse(settings)
    files = MPIFiles.MPIFile[]  # to be closed
    try
        b = remembered(files, measurement)
        sf = system_matrix(files, plan, String.(split(calibrations, '\n')))
        given = Pair{Symbol,Any}[:sf => sf]  # first: other parameters listen to it
        if plan == "SinglePatchHandsFree" && !haskey(s, "gridding")
            push!(given, :gridding => SystemMatrixGriddingParameter(sf))
        end
        append!(given, plan_parameters(s, sf, b, files))
        image = refusing(given) do
            if progress != 0 && plan in WATCHED
                reconstruct(watch(progress), plan, b; given...)
            else
                reconstruct(plan, b; given...)
            end
        end
        haskey(s, "save") && MPIFiles.saveRecoData(s["save"], image)
        return unpacked(image)
    finally
        foreach(release, files)
    end
end

function remembered(files, path::String)
    file = MPIFiles.MPIFile(path)
    push!(files, file)
    return file
end

function system_matrix(files, plan::String, paths::Vector{String})
    startswith(plan, "MultiPatch") && return MPIFiles.MultiMPIFile(paths)  # opens them itself; the collector closes them
    calibrations = [remembered(files, path) for path in paths]
    return length(calibrations) == 1 ? only(calibrations) : MultiContrastFile(calibrations)
end

"""
    reconstruct_lowlevel(S, n_rows, n_voxels, u, n_frames, settings, progress) -> array

Solve for a given matrix, complex64 at address `S`, rows contiguous; data complex64 at address `u`, frames contiguous.
Returns (voxel, frame). Source: MPIReco.jl plan `LowLevel`.
"""
function reconstruct_lowlevel(
    S::Int, n_rows::Int, n_voxels::Int, u::Int, n_frames::Int, settings::String, progress::Int
)
    s = TOML.parse(settings)
    matrix = transpose(unsafe_wrap(Array, Ptr{ComplexF32}(S), (n_voxels, n_rows)))
    data = copy(unsafe_wrap(Array, Ptr{ComplexF32}(u), (n_rows, n_frames)))
    get(s, "solver", "Kaczmarz") == "Kaczmarz" || (matrix = copy(matrix))
    haskey(s, "reg") || (s["reg"] = [Dict("type" => "L2", "lambda" => 0.0)])
    given = Pair{Symbol,Any}[:S => matrix]
    append!(given, plan_parameters(s, nothing, nothing, MPIFiles.MPIFile[]))
    return refusing(given) do
        if progress == 0
            reconstruct("LowLevel", data; given...)
        else
            reconstruct(watch(progress), "LowLevel", data; given...)
        end
    end
end

"""
Run `f`; UnknownSetting if MPIReco.jl logs that it could not set one of the `given` parameters, even where it fails for that
reason later.
"""
function refusing(f, given)
    collector = Collector(String[])
    result = try
        with_logger(f, collector)
    catch
        refuse(collector.messages, given)
        rethrow()
    end
    refuse(collector.messages, given)
    return result
end

function refuse(messages, given)
    for message in messages
        named = any(name != :sf && occursin(Regex("\\b$(name)\\b"), message) for (name, _) in given)
        startswith(message, "Could not set") && named && throw(UnknownSetting(message))
        occursin("callbacks", message) || @warn message
    end
end

"""The settings as keywords of MPIReco.jl, `solver` first: the others depend on it."""
function plan_parameters(s::Dict, sf, b, files)
    given = Pair{Symbol,Any}[]
    haskey(s, "solver") && push!(given, :solver => chosen(SOLVERS, s["solver"]))
    for (name, value) in s
        name in ("solver", "save") && continue
        if name == "rows"
            rows = cartesian(value["bins"], value["receivers"])
            push!(given, :freqFilter => MPIReco.DirectSelectionFrequencyFilterParameters(freqIndices=rows))
        else
            push!(given, Symbol(name) => built(name, value, sf, b, files))
        end
    end
    return given
end

function built(name::String, value, sf, b, files)
    name == "normalizeReg" && return chosen(NORMALIZATIONS, value, "Normalization")()
    name == "reg" && return isempty(value) ? AbstractRegularization[] : [regularization(entry) for entry in value]
    name == "bgParams" && return background_correction(value, files)
    name == "weightingParams" && return row_weights(value, sf, b)
    name == "gridding" && return gridding(value)
    name == "recChannels" && return span(value)
    name in ("restart", "vary_rho") && return Symbol(value)
    name == "iterbounds" && return Tuple(Vector{Int}(value))
    name in ("SNRbounds", "stoppingParas") && return Tuple(Vector{Float64}(value))
    return typed(value)
end

function needed(entry::Dict, name::String, parameter::String)
    haskey(entry, name) || throw(UnknownSetting("$parameter needs $name"))
    return entry[name]
end

function regularization(entry::Dict)
    type, λ = needed(entry, "type", "reg"), Float32(needed(entry, "lambda", "reg"))
    type == "L2" && return L2Regularization(λ)
    type == "L1" && return L1Regularization(λ)
    type == "TV" && return TVRegularization(λ; shape=Tuple(Vector{Int}(needed(entry, "shape", "reg"))))
    throw(UnknownSetting("unknown regularisation $type (known: L2, L1, TV)"))
end

function background_correction(entry::Dict, files)
    haskey(entry, "emptyMeas") ||
        return InternalBackgroundCorrectionParameters(interpolateBG=get(entry, "interpolateBG", false))
    empty = remembered(files, entry["emptyMeas"])
    return MPIReco.SimpleExternalBackgroundCorrectionParameters(emptyMeas=empty, bgFrames=1:MPIFiles.acqNumFrames(empty))
end

"""Weights of the kinds in `entry`; whitening takes the first calibration's background frames, else the scan's."""
function row_weights(entry::Dict, sf, b)
    kinds = map(needed(entry, "kinds", "weightingParams")) do kind
        if kind == "channel"
            weights = needed(entry, "channelWeights", "weightingParams")
            ChannelWeightingParameters(channelWeights=Vector{Float64}(weights))
        elseif kind == "whitening"
            calibration = sf isa MultiContrastFile ? sf[1] : sf
            file = any(MPIFiles.measIsBGFrame(calibration)) ? calibration : b
            WhiteningWeightingParameters(whiteningMeas=file, tfCorrection=get(entry, "tfCorrection", nothing))
        else
            RowNormWeightingParameters()
        end
    end
    return length(kinds) == 1 ? only(kinds) : MPIReco.CompositeWeightingParameters([kinds...])
end

function gridding(entry::Dict)
    return SystemMatrixGriddingParameter(
        gridsize=Vector{Int}(entry["gridsize"]), fov=Vector{Float64}(entry["fov"]),
        center=Vector{Float64}(entry["center"]),
    )
end

"""Image (contrast, x, y, z, frame) and its axes in millimetres and seconds, without labels and units."""
function unpacked(image)
    values = axisvalues(image)
    return (Array{Float32,5}(image.data.data), (Float64[x.val for x in values[i]] for i in 2:5)...)
end

"""
    load_reconstruction(path) -> (image, x, y, z, time)

Read an image as MPIFiles.jl does. Source: `loadRecoData`.
"""
function load_reconstruction(path::String)
    f = MPIFiles.MPIFile(path)
    try
        return unpacked(MPIFiles.loadRecoData(f))
    finally
        release(f)
    end
end
