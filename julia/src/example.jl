# A tiny simulated calibration and measurement, for the precompilation and the tests.

"""
    write_example(folder) -> (calibration, measurement)

Write two MDF files: a 4 × 3 grid, 2 receivers, 64 samples, 12 + 2 calibration frames, 3 + 1 measured frames. The
numbers are smooth and deterministic; they mean nothing.
"""
function write_example(folder::AbstractString)
    n_samples, n_voxels, n_background = 64, 12, 2
    n_bins, n_frames = n_samples ÷ 2 + 1, n_voxels + n_background
    calibration, measurement = joinpath(folder, "calibration.mdf"), joinpath(folder, "measurement.mdf")
    response(n, k, c) = ComplexF32(cos(n * k / 7 + c) / k, sin(n * (k + c) / 5) / k)
    data = zeros(ComplexF32, n_frames, n_bins, 2, 1)
    for c in 1:2, k in 1:n_bins, n in 1:n_voxels
        data[n, k, c, 1] = response(n, k, c)
    end
    data[n_voxels .+ (1:n_background), :, :, 1] .= ComplexF32(1e-3, 2e-3)
    data[n_frames, :, :, 1] .*= -1
    h5open(calibration, "w") do file
        write_header(file, n_samples, n_frames)
        write_flags(file, ["isFourierTransformed", "isFastFrameAxis", "isFramePermutation"])
        file["measurement/data"] = data
        file["measurement/isBackgroundFrame"] = Int8[zeros(n_voxels); ones(n_background)]
        file["measurement/framePermutation"] = collect(1:n_frames)
        file["calibration/method"] = "simulation"
        file["calibration/order"] = "xyz"
        file["calibration/size"] = [4, 3, 1]
        file["calibration/fieldOfView"] = [0.02, 0.015, 0.001]
        file["calibration/fieldOfViewCenter"] = [0.0, 0.0, 0.0]
        file["calibration/deltaSampleSize"] = [0.001, 0.001, 0.001]
        file["calibration/snr"] = fill(10.0, n_bins, 2, 1)
    end
    samples = [Float32(cos(v * f / 9) + c * sin(v / 3)) for v in 1:n_samples, c in 1:2, j in 1:1, f in 1:4]
    h5open(measurement, "w") do file
        write_header(file, n_samples, 4)
        write_flags(file, String[])
        file["measurement/data"] = samples
        file["measurement/isBackgroundFrame"] = Int8[0, 0, 0, 1]
    end
    return calibration, measurement
end

function write_header(file, n_samples::Int, n_frames::Int)
    time, id = "2026-01-02T03:04:05.678", "00000000-0000-4000-8000-000000000000"
    for (path, value) in [
        "version" => "2.1.0", "uuid" => id, "time" => time,
        "study/name" => "example", "study/number" => 1, "study/description" => "example", "study/uuid" => id,
        "experiment/name" => "example", "experiment/number" => 1, "experiment/description" => "example",
        "experiment/subject" => "example", "experiment/isSimulation" => Int8(1), "experiment/uuid" => id,
        "tracer/name" => ["none"], "tracer/batch" => ["none"], "tracer/vendor" => ["none"], "tracer/solute" => ["Fe"],
        "tracer/volume" => [1e-9], "tracer/concentration" => [0.1], "tracer/injectionTime" => [time],
        "scanner/facility" => "none", "scanner/manufacturer" => "none", "scanner/name" => "none",
        "scanner/operator" => "none", "scanner/topology" => "FFP",
        "acquisition/startTime" => time, "acquisition/numAverages" => 1, "acquisition/numFrames" => n_frames,
        "acquisition/numPeriodsPerFrame" => 1,
        "acquisition/gradient" => reshape([-1.0, 0, 0, 0, -1.0, 0, 0, 0, 2.0], 3, 3, 1, 1),
        "acquisition/offsetField" => zeros(3, 1, 1),
        "acquisition/drivefield/numChannels" => 2, "acquisition/drivefield/baseFrequency" => 2.5e6,
        "acquisition/drivefield/cycle" => n_samples / 2.5e6, "acquisition/drivefield/divider" => [16 8],
        "acquisition/drivefield/strength" => fill(0.01, 1, 2, 1), "acquisition/drivefield/phase" => zeros(1, 2, 1),
        "acquisition/drivefield/waveform" => ["sine" "sine"],
        "acquisition/receiver/numChannels" => 2, "acquisition/receiver/bandwidth" => 1.25e6,
        "acquisition/receiver/numSamplingPoints" => n_samples, "acquisition/receiver/unit" => "V",
    ]
        file[path] = value
    end
end

function write_flags(file, on::Vector{String})
    for flag in [
        "isBackgroundCorrected", "isFastFrameAxis", "isFourierTransformed", "isFramePermutation",
        "isFrequencySelection", "isSparsityTransformed", "isSpectralLeakageCorrected", "isTransferFunctionCorrected",
    ]
        file["measurement/$flag"] = Int8(flag in on)
    end
end
