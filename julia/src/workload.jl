# What is compiled when the package is: with it the first reconstruction takes seconds, without it most of a minute.

"""Every path the bridge uses, once, on the example; returns the reports of `through`."""
function exercise(folder::AbstractString)
    calibration, measurement = write_example(folder)
    saved = joinpath(folder, "image.mdf")
    kaczmarz = """
    SNRThresh = 2.0
    minFreq = 50000.0
    recChannels = [1, 2]
    frames = [1, 2]
    iterations = 2
    bgCorrection = true
    solver = "Kaczmarz"
    normalizeReg = "SystemMatrixBased"
    reg = [{type = "L2", lambda = 0.1}]
    """
    buffer = zeros(Int64, 3)
    address = Int(pointer(buffer))
    reports = String[]
    run(arguments...) = ((value, report) = through(arguments...); push!(reports, report); value)
    GC.@preserve buffer begin
        plan(settings) = run("reconstruct_plan", "SinglePatch", measurement, calibration, kaczmarz * settings, address)
        plan(sprint(TOML.print, Dict("save" => saved, "bgParams" => Dict("interpolateBG" => false))))
        plan("weightingParams = {kinds = [\"whitening\"]}")
        plan("weightingParams = {kinds = [\"channel\"], channelWeights = [1.0, 0.5]}")
        cgnr = replace(kaczmarz, "Kaczmarz" => "CGNR")
        run("reconstruct_plan", "SinglePatch", measurement, calibration, cgnr, address)
    end
    run("load_reconstruction", saved)
    for path in (calibration, measurement)
        file = run("open_file", path)
        run("header", file)
        run("stored", file)
        run("stored_data", file, "frames = [1, 2]\nperiods = [1]\nreceivers = [1, 2]\nlast = [2, 3]")
        if path == calibration
            run("stored_array", file, "/calibration/snr")
            run("filter_frequencies", file, "SNRThresh = 2.0\nminFreq = 50000.0")
            run("system_matrix_rows", file, "bins = [2, 3]\nreceivers = [1, 2]\nbgCorrection = true")
        else
            run("measurement_spectra", file, "bgCorrection = true")
            run("time_signals", file, "numAverages = 2")
        end
        run("close_file", file)
    end
    run("versions")
    return reports
end

@setup_workload begin
    @compile_workload begin
        try  # a failure here costs speed, not the package; test/runtests.jl tells of it
            mktempdir(exercise)
        catch
        end
    end
end
