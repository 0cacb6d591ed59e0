# The Julia side of the bridge, on files that it writes itself. Run with the project that has MPIReco.jl:
#     julia --project -e 'push!(LOAD_PATH, "julia"); include("julia/test/runtests.jl")'
using MPIBridge, Test, TOML

const MPIFiles = MPIBridge.MPIFiles
const FOLDER = mktempdir()
const CALIBRATION, MEASUREMENT = MPIBridge.write_example(FOLDER)
const N_SAMPLES, N_BINS = 64, 33

# What `through` does with anything is seen best with functions that do nothing else.
Core.eval(MPIBridge, quote
    complain() = (@warn "careful"; @info "never mind"; 3)
    break_down() = throw(DimensionMismatch("3 is not 4"))
end)

"""The value and the report of a call."""
function ask(name, arguments...)
    value, text = through(name, arguments...)
    return value, TOML.parse(text)
end

"""The value of a call that must work."""
function told(name, arguments...)
    value, report = ask(name, arguments...)
    haskey(report, "error") && println(stderr, name, ": ", report["error"]["message"], report["error"]["trace"])
    @test !haskey(report, "error")
    return value
end

"""The error of a call that must fail."""
function refused(name, arguments...)
    value, report = ask(name, arguments...)
    @test isnothing(value)
    @test haskey(report, "error")
    return get(report, "error", Dict("kind" => "", "message" => "", "trace" => ""))
end

"""Open a file, hand over its handle, close it."""
function opened(f, path)
    handle = told("open_file", path)
    try
        return f(handle)
    finally
        told("close_file", handle)
    end
end

relative(found, wanted) = sqrt(sum(abs2, vec(found) .- vec(wanted)) / sum(abs2, wanted))

# The numbers of `write_example`.
response(n, k, c) = ComplexF32(cos(n * k / 7 + c) / k, sin(n * (k + c) / 5) / k)
sample(v, c, f) = Float32(cos(v * f / 9) + c * sin(v / 3))
signal(c, f) = [Float64(sample(v, c, f)) for v in 1:N_SAMPLES]
bin(u, k) = sum(u[n] * cispi(-2 * (k - 1) * (n - 1) / N_SAMPLES) for n in 1:N_SAMPLES)

@testset "everything that is exported is tested here" begin
    tested = [
        :through, :versions, :open_file, :close_file, :header, :stored, :stored_data, :stored_array,
        :measurement_spectra, :time_signals, :filter_frequencies, :system_matrix_rows, :calculate_snr,
        :reconstruct_plan, :reconstruct_lowlevel, :load_reconstruction, :convert_file,
    ]
    @test issetequal(setdiff(names(MPIBridge), [:MPIBridge]), tested)
end

@testset "the workload of the precompilation works" begin
    reports = TOML.parse.(mktempdir(MPIBridge.exercise))
    @test length(reports) > 10
    for report in reports
        haskey(report, "error") && println(stderr, report["error"]["message"], report["error"]["trace"])
        @test !haskey(report, "error")
    end
end

@testset "MPIFiles.jl has the accessors" begin
    tables = (MPIBridge.ACCESSORS, MPIBridge.MEASUREMENT, MPIBridge.CALIBRATION, MPIBridge.RECONSTRUCTION)
    absent = [name for table in tables for (_, name) in table if !isdefined(MPIFiles, name)]
    isempty(absent) || println(stderr, "MPIFiles.jl lacks ", join(absent, ", "))
    @test isempty(absent)
end

@testset "through" begin
    value, report = ask("complain")
    @test value == 3
    @test report["warnings"] == ["careful"]
    @test !haskey(report, "error")
    error = refused("break_down")
    @test error["kind"] == "DimensionMismatch"
    @test occursin("3 is not 4", error["message"])
    @test occursin("break_down", error["trace"])
    @test refused("no_such_function")["kind"] == "UndefVarError"
    @test refused("versions", 1)["kind"] == "MethodError"
end

@testset "versions" begin
    said = TOML.parse(told("versions"))
    @test VersionNumber(said["julia"]) == VERSION
    @test VersionNumber(said["packages"]["MPIReco"]) == v"0.9.7"
    @test VersionNumber(said["packages"]["MPIFiles"]) == v"0.19.2"
    @test issetequal(keys(said), ["julia", "executable", "depot", "project", "threads", "packages"])
end

@testset "values" begin
    @test MPIBridge.typed(Any[1, 2]) isa Vector{Int}
    @test MPIBridge.typed(Any[1, 2.5]) isa Vector{Float64}
    @test MPIBridge.typed(Any[1, 2.5]) == [1.0, 2.5]
    @test MPIBridge.typed("text") === "text"
    @test MPIBridge.typed(true) === true
    @test MPIBridge.plain(true) === 1
    @test MPIBridge.plain(Int8(3)) === 3
    @test MPIBridge.plain(0.5f0) === 0.5
    @test MPIBridge.plain(v"2.1.0") == "2.1.0"
    @test MPIBridge.plain(SubString("abc", 2)) isa String
    @test MPIBridge.plain(MPIBridge.DateTime(2026, 1, 2, 3, 4, 5, 678)) == "2026-01-02T03:04:05.678"
    @test MPIBridge.plain((1, 2.5)) == [1, 2.5]
    @test MPIBridge.plain([1 2; 3 4]) == [[1, 3], [2, 4]]  # the first axis is the innermost
    @test size.(MPIBridge.plain(zeros(2, 3, 4))) == [(3,), (3,), (3,), (3,)]
    @test MPIBridge.span(Any[2, 3, 4]) === 2:4
    @test MPIBridge.span([5]) === 5:5
    @test MPIBridge.span([3, 2]) == [3, 2]
    @test MPIBridge.span([1, 3]) isa Vector{Int}
end

@testset "handles" begin
    first, second = told("open_file", CALIBRATION), told("open_file", MEASUREMENT)
    @test first != second
    told("close_file", first)
    @test refused("header", first)["kind"] == "ArgumentError"
    @test TOML.parse(told("header", second))["/acquisition/numFrames"] == 4
    told("close_file", second)
    @test refused("close_file", second)["kind"] == "ArgumentError"
    @test isempty(MPIBridge.FILES)
end

@testset "missing files" begin
    path = joinpath(FOLDER, "missing.mdf")
    for call in (("open_file", path), ("load_reconstruction", path), ("convert_file", path, path, ""))
        @test occursin("unable to determine", refused(call...)["message"])  # Python knows it by these words
    end
    write(joinpath(FOLDER, "text.mdf"), "no HDF5")
    @test occursin("unable to determine", refused("open_file", joinpath(FOLDER, "text.mdf"))["message"])
end

@testset "header" begin
    measured = TOML.parse(opened(handle -> told("header", handle), MEASUREMENT))
    @test measured["/version"] == "2.1.0"
    @test measured["/time"] == "2026-01-02T03:04:05.678"
    @test measured["/uuid"] == "00000000-0000-4000-8000-000000000000"
    @test measured["/experiment/isSimulation"] == 1
    @test measured["/tracer/name"] == ["none"]
    @test measured["/acquisition/drivefield/waveform"] == [["sine"], ["sine"]]
    @test measured["/acquisition/drivefield/divider"] == [[16], [8]]
    @test measured["/acquisition/drivefield/strength"] == [[[0.01], [0.01]]]
    @test measured["/acquisition/gradient"] == [[[[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 2.0]]]]
    @test measured["/acquisition/offsetField"] == [[[0.0, 0.0, 0.0]]]
    @test measured["/measurement/isBackgroundFrame"] == [0, 0, 0, 1]
    @test measured["/measurement/isFastFrameAxis"] == 0
    @test !haskey(measured, "/calibration/size")
    @test !haskey(measured, "/scanner/boreSize")  # not stored, so not told
    calibrated = TOML.parse(opened(handle -> told("header", handle), CALIBRATION))
    @test calibrated["/calibration/size"] == [4, 3, 1]
    @test calibrated["/calibration/fieldOfView"] == [0.02, 0.015, 0.001]
    @test calibrated["/measurement/framePermutation"] == 1:14
    @test calibrated["/measurement/isFastFrameAxis"] == 1
end

@testset "stored numbers" begin
    opened(MEASUREMENT) do handle
        said = TOML.parse(told("stored", handle))
        @test said == Dict("/measurement/data" => Dict("shape" => [N_SAMPLES, 2, 1, 4], "type" => "f4"))
        for (frames, last) in (([1, 2], [3, 4, 5]), ([4, 2], [9, 1, 1]))
            part = told("stored_data", handle, "frames = $frames\nperiods = [1]\nreceivers = [2]\nlast = $last")
            @test part == reshape([sample(v, 2, f) for v in last, f in frames], length(last), 1, 1, length(frames))
        end
        @test refused("stored_array", handle, "/calibration/snr")["kind"] == "KeyError"
        @test refused("stored_array", handle, "/nonsense")["kind"] == "ArgumentError"
    end
    opened(CALIBRATION) do handle
        said = TOML.parse(told("stored", handle))
        @test said["/measurement/data"] == Dict("shape" => [14, N_BINS, 2, 1], "type" => "c8")
        @test said["/calibration/snr"] == Dict("shape" => [N_BINS, 2, 1], "type" => "f8")
        part = told("stored_data", handle, "frames = [2, 3]\nperiods = [1]\nreceivers = [1, 2]\nlast = [7]")
        @test part == reshape([response(n, 7, c) for n in 2:3, c in 1:2], 2, 1, 2, 1)
        @test told("stored_array", handle, "/calibration/snr") == fill(10.0, N_BINS, 2, 1)
    end
end

@testset "spectra and signals" begin
    opened(MEASUREMENT) do handle
        plain = told("measurement_spectra", handle, "")
        @test plain isa Array{ComplexF32,4}
        @test relative(plain, [bin(signal(c, f), k) for k in 1:N_BINS, c in 1:2, j in 1:1, f in 1:3]) < 1e-5
        corrected = told("measurement_spectra", handle, "bgCorrection = true\nframes = [2]")
        wanted = [bin(signal(c, 2) .- signal(c, 4), k) for k in 1:N_BINS, c in 1:2]
        @test relative(corrected, wanted) < 1e-5
        rows = told("measurement_spectra", handle, "bins = [3, 9, 4]\nbin_receivers = [1, 1, 2]")
        @test size(rows) == (3, 1, 3)
        @test rows[:, 1, 2] == [plain[3, 1, 1, 2], plain[9, 1, 1, 2], plain[4, 2, 1, 2]]
        averaged = told("time_signals", handle, "numAverages = 3")
        @test averaged isa Array{Float32,4}
        @test relative(averaged, [sum(sample(v, c, f) for f in 1:3) / 3 for v in 1:N_SAMPLES, c in 1:2]) < 1e-6
        _, report = ask("time_signals", handle, "numAverages = 2")  # three frames: the last block is shorter
        @test !isempty(report["warnings"])
        for name in ("measurement_spectra", "time_signals")
            error = refused(name, handle, "numAverage = 3")
            @test error["kind"] == "UnknownSetting"
            @test occursin("numAverage ", error["message"])
        end
    end
end

@testset "rows of a system matrix" begin
    opened(CALIBRATION) do handle
        bins, receivers = told("filter_frequencies", handle, "SNRThresh = 2.0\nminFreq = 50000.0")
        @test bins == [3:N_BINS; 3:N_BINS]  # 39 kHz apart
        @test receivers == [fill(1, N_BINS - 2); fill(2, N_BINS - 2)]
        bins, receivers = told("filter_frequencies", handle, "recChannels = [2]\nstopBands = [[100000.0, 200000.0]]")
        @test bins == [1; 2; 7:N_BINS]
        @test all(==(2), receivers)
        bins, receivers = told("filter_frequencies", handle, "SNRThresh = 11.0")
        @test isempty(bins) && isempty(receivers)
        @test refused("filter_frequencies", handle, "SNRthresh = 2.0")["kind"] == "UnknownSetting"
        rows = told("system_matrix_rows", handle, "bins = [2, 5, 3]\nreceivers = [1, 1, 2]")
        wanted = [response(n, k, c) for n in 1:12, (k, c) in ((2, 1), (5, 1), (3, 2))]
        @test rows isa Matrix{ComplexF32}
        @test rows == wanted
        # The two empty frames cancel: their mean is nothing.
        rows = told("system_matrix_rows", handle, "bins = [2, 5, 3]\nreceivers = [1, 1, 2]\nbgCorrection = true")
        @test relative(rows, wanted) < 1e-6
        snr = told("calculate_snr", handle)
        @test size(snr) == (N_BINS, 2, 1)
        @test all(x -> isfinite(x) && x > 0, snr)
    end
end

const KACZMARZ = """
SNRThresh = 2.0
minFreq = 50000.0
recChannels = [1, 2]
frames = [1, 2]
iterations = 3
solver = "Kaczmarz"
normalizeReg = "SystemMatrixBased"
reg = [{type = "L2", lambda = 0.1}]
"""
plan(settings, progress=0) = ("reconstruct_plan", "SinglePatch", MEASUREMENT, CALIBRATION, settings, progress)

"""MPIReco.jl on a matrix (voxel, row) and data (row, frame)."""
function lowlevel(S, u, settings)
    matrix, data = Array{ComplexF32}(S), Array{ComplexF32}(reshape(u, size(S, 2), :))
    GC.@preserve matrix data begin
        addresses = (Int(pointer(matrix)), Int(pointer(data)))
        return told(
            "reconstruct_lowlevel", addresses[1], size(S, 2), size(S, 1), addresses[2], size(data, 2), settings, 0
        )
    end
end

@testset "a plan is what its parts are" begin
    image, x, y, z, time = told(plan(KACZMARZ)...)
    @test image isa Array{Float32,5}
    @test size(image) == (1, 4, 3, 1, 2)
    @test all(>=(0), image) && any(>(0), image)
    @test x ≈ [-7.5, -2.5, 2.5, 7.5]
    @test y ≈ [-5.0, 0.0, 5.0]
    @test z ≈ [0.0] atol = 1e-9
    @test time ≈ [0.0, N_SAMPLES / 2.5e6]
    bins, receivers, S = opened(CALIBRATION) do handle
        bins, receivers = told("filter_frequencies", handle, "SNRThresh = 2.0\nminFreq = 50000.0")
        bins, receivers, told("system_matrix_rows", handle, "bins = $bins\nreceivers = $receivers")
    end
    u = opened(MEASUREMENT) do handle
        told("measurement_spectra", handle, "frames = [1, 2]\nbins = $bins\nbin_receivers = $receivers")
    end
    solver = join(filter(line -> startswith(line, r"iterations|solver|normalizeReg|reg "), split(KACZMARZ, '\n')), '\n')
    @test relative(lowlevel(S, u, solver), image) < 1e-5
    rows = "rows = {bins = $bins, receivers = $receivers}"
    chosen, _ = told(plan(solver * "\nframes = [1, 2]\n" * rows)...)
    @test relative(chosen, image) < 1e-6
end

@testset "many sweeps solve the regularised normal equations" begin
    S = [ComplexF32(cos(v * r), sin(v + 2r)) for v in 1:6, r in 1:12]
    u = [ComplexF32(sin(r * f), cos(3r + f)) for r in 1:12, f in 1:2]
    A, b = ComplexF64.(permutedims(S)), ComplexF64.(u)
    free = "enforceReal = false\nenforcePositive = false\n"
    for (normalization, factor) in (("No", 1.0), ("SystemMatrixBased", sum(abs2, A) / 6))
        λ = 0.5
        N = A' * A
        for i in 1:6
            N[i, i] += λ * factor
        end
        wanted = real.(N \ (A' * b))
        common = free * "normalizeReg = \"$normalization\"\nreg = [{type = \"L2\", lambda = $λ}]\n"
        for (solver, iterations) in (("Kaczmarz", 5000), ("CGNR", 50))
            found = lowlevel(S, u, common * "solver = \"$solver\"\niterations = $iterations")
            @test size(found) == (6, 2)
            @test relative(found, wanted) < 1e-3
        end
    end
end

@testset "settings of MPIReco.jl" begin
    for wrong in ("shuffelRows = true", "lambda = 0.1", "frames2 = [1]")
        error = refused(plan(KACZMARZ * wrong)...)
        @test error["kind"] == "UnknownSetting"
        @test occursin(first(split(wrong)), error["message"])
    end
    for (right, wrong) in (
        "\"Kaczmarz\"" => "\"Gauss\"", "\"SystemMatrixBased\"" => "\"Unit\"", "\"L2\"" => "\"L7\"",
    )
        @test refused(plan(replace(KACZMARZ, right => wrong))...)["kind"] == "UnknownSetting"
    end
    plain, _ = told(plan(KACZMARZ)...)
    for more in (
        "shuffleRows = true", "weightingParams = {kinds = [\"row_norm\"]}", "bgParams = {interpolateBG = false}",
        "weightingParams = {kinds = [\"channel\", \"row_norm\"], channelWeights = [1.0, 0.1]}",
        "gridding = {gridsize = [4, 3, 1], fov = [0.018, 0.014, 0.001], center = [0.0, 0.0, 0.0]}",
    )
        image, _ = told(plan(KACZMARZ * more)...)
        @test size(image) == size(plain)
        @test image != plain
    end
end

@testset "progress and cancel" begin
    buffer = zeros(Int64, 3)
    GC.@preserve buffer begin
        told(plan(KACZMARZ, Int(pointer(buffer)))...)
        @test buffer == [2, 3, 0]  # the last frame, the last iteration
        buffer[3] = 1
        @test occursin("cancelled", refused(plan(KACZMARZ, Int(pointer(buffer)))...)["message"])
    end
end

@testset "images as files" begin
    path = joinpath(FOLDER, "image.mdf")
    image, x, y, _, _ = told(plan(KACZMARZ * "save = $(repr(path))")...)
    loaded, loaded_x, loaded_y, _, time = told("load_reconstruction", path)
    @test loaded == image
    @test loaded_x ≈ x
    @test loaded_y ≈ y
    @test length(time) == 2
    @test TOML.parse(opened(handle -> told("header", handle), path))["/reconstruction/size"] == [4, 3, 1]
    told("convert_file", CALIBRATION, joinpath(FOLDER, "converted.mdf"), "")
    rows = "bins = [2, 5]\nreceivers = [1, 2]"
    both = [opened(h -> told("system_matrix_rows", h, rows), p) for p in (CALIBRATION, joinpath(FOLDER, "converted.mdf"))]
    @test both[1] == both[2]
    @test refused("convert_file", CALIBRATION, joinpath(FOLDER, "other.mdf"), "SNRthresh = 1.0")["kind"] == "UnknownSetting"
end
