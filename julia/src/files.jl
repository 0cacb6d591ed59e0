# Files by integer handle: their header and what they store.

const FILES = Dict{Int,MPIFiles.MPIFile}()
const LAST_HANDLE = Ref(0)  # a handle is never used twice

"""
    open_file(path) -> handle

Open an MDF or IMT file or a Bruker folder. Source: MPIFiles.jl `MPIFile`.
"""
function open_file(path::String)
    file = MPIFiles.MPIFile(path)
    LAST_HANDLE[] += 1
    FILES[LAST_HANDLE[]] = file
    return LAST_HANDLE[]
end

"""Close a file; its handle is no longer valid."""
function close_file(handle::Int)
    release(opened(handle))
    delete!(FILES, handle)
    return nothing
end

function opened(handle::Int)
    haskey(FILES, handle) || throw(ArgumentError("there is no open file $handle"))
    return FILES[handle]
end

"""Close what can be closed: Bruker folders hold nothing open."""
release(f) = applicable(close, f) ? (close(f); nothing) : nothing

"""MDF path => accessor of MPIFiles.jl."""
const ACCESSORS = [
    "/version" => :version,
    "/uuid" => :uuid,
    "/time" => :time,
    "/study/name" => :studyName,
    "/study/number" => :studyNumber,
    "/study/uuid" => :studyUuid,
    "/study/description" => :studyDescription,
    "/study/time" => :studyTime,
    "/experiment/name" => :experimentName,
    "/experiment/number" => :experimentNumber,
    "/experiment/uuid" => :experimentUuid,
    "/experiment/description" => :experimentDescription,
    "/experiment/subject" => :experimentSubject,
    "/experiment/isSimulation" => :experimentIsSimulation,
    "/tracer/name" => :tracerName,
    "/tracer/batch" => :tracerBatch,
    "/tracer/vendor" => :tracerVendor,
    "/tracer/volume" => :tracerVolume,
    "/tracer/concentration" => :tracerConcentration,
    "/tracer/solute" => :tracerSolute,
    "/tracer/injectionTime" => :tracerInjectionTime,
    "/scanner/facility" => :scannerFacility,
    "/scanner/operator" => :scannerOperator,
    "/scanner/manufacturer" => :scannerManufacturer,
    "/scanner/name" => :scannerName,
    "/scanner/topology" => :scannerTopology,
    "/acquisition/startTime" => :acqStartTime,
    "/acquisition/numAverages" => :acqNumAverages,
    "/acquisition/numFrames" => :acqNumFrames,
    "/acquisition/numPeriodsPerFrame" => :acqNumPeriodsPerFrame,
    "/acquisition/gradient" => :acqGradient,
    "/acquisition/offsetField" => :acqOffsetField,
    "/acquisition/drivefield/numChannels" => :dfNumChannels,
    "/acquisition/drivefield/strength" => :dfStrength,
    "/acquisition/drivefield/phase" => :dfPhase,
    "/acquisition/drivefield/baseFrequency" => :dfBaseFrequency,
    "/acquisition/drivefield/divider" => :dfDivider,
    "/acquisition/drivefield/waveform" => :dfWaveform,
    "/acquisition/drivefield/cycle" => :dfCycle,
    "/acquisition/receiver/numChannels" => :rxNumChannels,
    "/acquisition/receiver/bandwidth" => :rxBandwidth,
    "/acquisition/receiver/numSamplingPoints" => :rxNumSamplingPoints,
    "/acquisition/receiver/unit" => :rxUnit,
    "/acquisition/receiver/dataConversionFactor" => :rxDataConversionFactor,
    "/acquisition/receiver/inductionFactor" => :rxInductionFactor,
    "/acquisition/receiver/transferFunctionFileName" => :rxTransferFunctionFileName,
]
const MEASUREMENT = [
    "/measurement/isFourierTransformed" => :measIsFourierTransformed,
    "/measurement/isTransferFunctionCorrected" => :measIsTFCorrected,
    "/measurement/isBackgroundCorrected" => :measIsBGCorrected,
    "/measurement/isSpectralLeakageCorrected" => :measIsSpectralLeakageCorrected,
    "/measurement/isFrequencySelection" => :measIsFrequencySelection,
    "/measurement/isSparsityTransformed" => :measIsSparsityTransformed,
    "/measurement/isFastFrameAxis" => :measIsFastFrameAxis,
    "/measurement/isFramePermutation" => :measIsFramePermutation,
    "/measurement/isBackgroundFrame" => :measIsBGFrame,
    "/measurement/framePermutation" => :measFramePermutation,
    "/measurement/frequencySelection" => :measFrequencySelection,
    "/measurement/sparsityTransformation" => :measSparsityTransformation,
]
const CALIBRATION = [
    "/calibration/method" => :calibMethod,
    "/calibration/size" => :calibSize,
    "/calibration/fieldOfView" => :calibFov,
    "/calibration/fieldOfViewCenter" => :calibFovCenter,
    "/calibration/order" => :calibOrder,
    "/calibration/deltaSampleSize" => :calibDeltaSampleSize,
    "/calibration/positions" => :calibPositions,
    "/calibration/isMeanderingGrid" => :calibIsMeanderingGrid,
]
const RECONSTRUCTION = [
    "/reconstruction/size" => :recoSize,
    "/reconstruction/fieldOfView" => :recoFov,
    "/reconstruction/fieldOfViewCenter" => :recoFovCenter,
    "/reconstruction/order" => :recoOrder,
]
"""A number; the accessor of MPIFiles.jl takes it for text."""
const BORE_SIZE = "/scanner/boreSize"
"""Names that MDF files before 2.0.1 give to datasets."""
const OLD_NAMES = Dict(
    "/acquisition/numPeriodsPerFrame" => "/acquisition/numPeriods",
    "/acquisition/drivefield/cycle" => "/acquisition/drivefield/period",
)

"""
    header(handle) -> TOML text

What a file says, by MDF path; arrays nested with the axes of the MDF specification, flags 0 or 1, times to the
millisecond. Of an MDF 2 file only what is stored in it; of any other format all that MPIFiles.jl tells.
"""
header(handle::Int) = sprint(TOML.print, header_values(opened(handle)))

function header_values(f::MPIFiles.MPIFile)
    entries = copy(ACCESSORS)
    MPIFiles.experimentHasMeasurement(f) && append!(entries, MEASUREMENT)
    MPIFiles.experimentIsCalibration(f) && append!(entries, CALIBRATION)
    MPIFiles.experimentHasReconstruction(f) && append!(entries, RECONSTRUCTION)
    values = Dict{String,Any}()
    for (path, name) in entries
        says(f, path) && isdefined(MPIFiles, name) || continue
        value = answer(f, getfield(MPIFiles, name), path)
        isnothing(value) || ismissing(value) || (values[path] = plain(value))
    end
    if f isa MPIFiles.MDFFileV2 && haskey(f.file, BORE_SIZE)
        values[BORE_SIZE] = plain(read(f.file, BORE_SIZE))
    end
    if startswith(string(nameof(typeof(f))), "IMT")  # MPIFiles.jl counts one frame, whatever the file holds
        n = data_shape(f)[is_fast(f) ? 1 : 4]
        values["/acquisition/numFrames"] = n
        values["/measurement/isBackgroundFrame"] = zeros(Int, n)
    end
    return values
end

says(f::MPIFiles.MPIFile, path::String) = true
says(f::MPIFiles.MDFFileV2, path::String) = haskey(f.file, path) || haskey(f.file, get(OLD_NAMES, path, path))

"""What an accessor says, or nothing: other formats than MDF 2 lack some answers."""
function answer(f::MPIFiles.MPIFile, accessor, path::String)
    try
        return accessor(f)
    catch exception
        f isa MPIFiles.MDFFileV2 && @warn "$path cannot be read: $(sprint(showerror, exception))"
        return nothing
    end
end

is_fast(f::MPIFiles.MPIFile) = MPIFiles.experimentHasMeasurement(f) && MPIFiles.measIsFastFrameAxis(f) === true

"""Axes of the stored data as MPIFiles.jl has them: (W | K, C, J, N), or (N, K, C, J) with a fast frame axis."""
data_shape(f::MPIFiles.MPIFile) = size(MPIFiles.measData(f))
function data_shape(f::MPIFiles.MDFFileV2)
    isdefined(MPIFiles, :measDataRaw) && return size(MPIFiles.measDataRaw(f))
    one = size(MPIFiles.measData(f, 1:1, 1:1, 1:1))
    channels, periods = MPIFiles.rxNumChannels(f), MPIFiles.acqNumPeriodsPerFrame(f)
    n = length(MPIFiles.measIsBGFrame(f))
    return is_fast(f) ? (n, one[2], channels, periods) : (one[1], channels, periods, n)
end

"""
    stored(handle) -> TOML text

Shape (Julia's order of axes) and element type (`c8`, `i2`, … as NumPy writes it) of the arrays of a file.
"""
function stored(handle::Int)
    f = opened(handle)
    arrays = Dict{String,Any}()
    if MPIFiles.experimentHasMeasurement(f)
        arrays["/measurement/data"] = described(data_shape(f), eltype(MPIFiles.measData(f, 1:1, 1:1, 1:1)))
    end
    for path in OPTIONAL
        value = optional_array(f, path)
        isnothing(value) || (arrays[path] = described(size(value), eltype(value)))
    end
    return sprint(TOML.print, arrays)
end

described(size, type) = Dict("shape" => collect(Int, size), "type" => string(letter(type), sizeof(type)))
letter(::Type{<:Complex}) = "c"
letter(::Type{<:AbstractFloat}) = "f"
letter(::Type{<:Signed}) = "i"
letter(::Type{<:Unsigned}) = "u"

const OPTIONAL = (
    "/calibration/snr", "/acquisition/receiver/transferFunction", "/measurement/subsamplingIndices",
    "/reconstruction/data",
)

"""One of the arrays that a file may have; nothing where it has none."""
function optional_array(f::MPIFiles.MPIFile, path::String)
    path in OPTIONAL && !says(f, path) && return nothing
    if path == "/calibration/snr"
        value = MPIFiles.experimentIsCalibration(f) ? MPIFiles.calibSNR(f) : nothing
        return isnothing(value) || ismissing(value) ? nothing : Array{Float64}(value)
    elseif path == "/acquisition/receiver/transferFunction"
        return MPIFiles.rxHasTransferFunction(f) ? Array{ComplexF64}(MPIFiles.rxTransferFunction(f)) : nothing
    elseif path == "/measurement/subsamplingIndices"
        is_sparse = MPIFiles.experimentHasMeasurement(f) && MPIFiles.measIsSparsityTransformed(f) === true
        return is_sparse ? Array{Int64}(MPIFiles.measSubsamplingIndices(f)) : nothing
    elseif path == "/reconstruction/data"
        return MPIFiles.experimentHasReconstruction(f) ? Array{Float32}(MPIFiles.recoData(f)) : nothing
    end
    throw(ArgumentError("no array is called $path (known: $(join(OPTIONAL, ", ")))"))
end

"""
    stored_array(handle, path) -> array

The signal-to-noise ratio (K, C, J), the transfer function (K, C), the positions of the coefficients of a sparse system
matrix (B, K, C, J) or the image (S, P, Q) of a file.
"""
function stored_array(handle::Int, path::String)
    value = optional_array(opened(handle), path)
    isnothing(value) && throw(KeyError(path))
    return value
end

"""
    stored_data(handle, settings) -> array

The numbers of `/measurement/data` as they are stored, in the axes of `stored`.
settings: `frames`, `periods`, `receivers` and `last` (samples or bins as stored), each a list of positions.
"""
function stored_data(handle::Int, settings::String)
    f, s = opened(handle), TOML.parse(settings)
    frames, periods, receivers, last = (span(s[name]) for name in ("frames", "periods", "receivers", "last"))
    if f isa MPIFiles.MDFFileV2 && isdefined(MPIFiles, :measDataRaw)  # a memory map: only what is asked for is read
        raw = MPIFiles.measDataRaw(f)
        return is_fast(f) ? raw[frames, last, receivers, periods] : raw[last, receivers, periods, frames]
    end
    data = MPIFiles.measData(f, frames, periods, receivers)
    return is_fast(f) ? data[:, last, :, :] : data[last, :, :, :]
end

"""A list of positions, as a range if it is one: ranges are read in one go."""
function span(list)
    positions = Vector{Int}(list)
    run = first(positions):last(positions)
    return positions == run ? run : positions
end
