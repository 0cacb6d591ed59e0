# What MPIFiles.jl computes from a file.

"""Options of `getMeasurements` and `getMeasurementsFD`; the second ignores an unknown one without a word."""
const SIGNAL_OPTIONS = (
    "frames", "numAverages", "numPeriodAverages", "averagePeriodsPerPatch", "numPeriodGrouping", "bgCorrection",
    "bgFrames", "interpolateBG", "spectralLeakageCorrection", "sortFrames", "tfCorrection", "fixDistortions",
    "distortionThresh",
)
const SPECTRUM_OPTIONS = (SIGNAL_OPTIONS..., "loadasreal", "transposed", "amplitudeScaling")

"""The settings as keywords, each one of `known`; those that a function takes apart itself are named in `apart`."""
function keywords(s::Dict, known, apart...)
    pairs = Pair{Symbol,Any}[]
    for (name, value) in s
        name in apart && continue
        name in known || throw(UnknownSetting("unknown option $name (known: $(join(known, ", ")))"))
        push!(pairs, Symbol(name) => typed(value))
    end
    return pairs
end

"""Lists of bins and receivers as the indices of MPIFiles.jl."""
cartesian(bins, receivers) = CartesianIndex{2}[CartesianIndex(k, c) for (k, c) in zip(bins, receivers)]

"""
    measurement_spectra(handle, settings) -> ComplexF32 array

Spectra (bin, receiver, period, frame), or (row, period, frame) of the entries that `bins` and `bin_receivers` list.
settings: those, `neglectBGFrames`, and the options of MPIFiles.jl `getMeasurementsFD`.
"""
function measurement_spectra(handle::Int, settings::String)
    f, s = opened(handle), TOML.parse(settings)
    options = keywords(s, SPECTRUM_OPTIONS, "bins", "bin_receivers", "neglectBGFrames")
    haskey(s, "bins") && push!(options, :frequencies => cartesian(s["bins"], s["bin_receivers"]))
    return Array(MPIFiles.getMeasurementsFD(f, get(s, "neglectBGFrames", true); options...))
end

"""
    time_signals(handle, settings) -> Float32 array

Signals (sample, receiver, period, frame). settings: `neglectBGFrames`, and the options of `getMeasurements`.
"""
function time_signals(handle::Int, settings::String)
    f, s = opened(handle), TOML.parse(settings)
    options = keywords(s, SIGNAL_OPTIONS, "neglectBGFrames")
    return Array(MPIFiles.getMeasurements(f, get(s, "neglectBGFrames", true); options...))
end

const FILTER_OPTIONS = (
    "SNRThresh", "minFreq", "maxFreq", "recChannels", "stepsize", "maxMixingOrder", "numPeriodAverages",
    "numPeriodGrouping", "numSidebandFreqs", "stopBands",
)

"""
    filter_frequencies(handle, settings) -> (bins, receivers)

The rows that pass a selection. settings: options of `filterFrequencies`; `stopBands` is a list of [low, high] in hertz.
"""
function filter_frequencies(handle::Int, settings::String)
    rows = selected(opened(handle), TOML.parse(settings))
    return [row[1] for row in rows], [row[2] for row in rows]
end

function selected(f::MPIFiles.MPIFile, s::Dict)
    options = keywords(s, FILTER_OPTIONS, "stopBands")
    if haskey(s, "stopBands")
        bands = [(round(Int, low), round(Int, high)) for (low, high) in s["stopBands"]]
        push!(options, :stopBands => bands)
    end
    return MPIFiles.filterFrequencies(f; options...)
end

const MATRIX_OPTIONS = ("bgCorrection", "tfCorrection", "loadasreal", "numPeriodAverages", "numPeriodGrouping")

"""
    system_matrix_rows(handle, settings) -> ComplexF32 array

Rows (voxel, row), x fastest, periods slowest, of the entries that `bins` and `receivers` list.
settings: those, and the options of `getSystemMatrix`.
"""
function system_matrix_rows(handle::Int, settings::String)
    f, s = opened(handle), TOML.parse(settings)
    options = keywords(s, MATRIX_OPTIONS, "bins", "receivers")
    return Array(MPIFiles.getSystemMatrix(f, cartesian(s["bins"], s["receivers"]); options...))
end

"""
    calculate_snr(handle) -> Float64 array

Signal-to-noise ratio (bin, receiver, period) from the foreground and background frames of a calibration.
Source: MPIFiles.jl `calculateSystemMatrixSNR`.
"""
function calculate_snr(handle::Int)
    f = opened(handle)
    return MPIFiles.calculateSystemMatrixSNR(f, MPIFiles.measData(f)[:, :, :, :])
end

const CONVERSION_OPTIONS = (
    "frames", "SNRThresh", "minFreq", "maxFreq", "stepsize", "maxMixingOrder", "numPeriodAverages",
    "numPeriodGrouping", "numSidebandFreqs", "applyCalibPostprocessing", "fixDistortions", "sparsityTrafoRedFactor",
    "sparsityTrafo", "filenameBG", "experimentNumber",
)

"""
    convert_file(source, target, settings)

Write any file that MPIFiles.jl reads as MDF. settings: the options of `saveasMDF`.
"""
function convert_file(source::String, target::String, settings::String)
    f = MPIFiles.MPIFile(source)
    try
        MPIFiles.saveasMDF(target, f; keywords(TOML.parse(settings), CONVERSION_OPTIONS)...)
    finally
        release(f)
    end
    return nothing
end
