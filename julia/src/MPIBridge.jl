"""
MPIFiles.jl and MPIReco.jl behind named functions whose arguments and results are plain: text, whole numbers, arrays.

Files are integer handles. Settings and headers are TOML text, so that every value arrives with its Julia type; frames,
receivers and frequency bins count from 1, as in MPIFiles.jl. `through` is the door that Python knocks at.
"""
module MPIBridge

using AbstractImageReconstruction, MPIFiles, MPIReco, RegularizedLeastSquares
using Dates, Logging, TOML
using HDF5: h5open
using PrecompileTools: @compile_workload, @setup_workload

export through, versions
export open_file, close_file, header, stored, stored_data, stored_array
export measurement_spectra, time_signals, filter_frequencies, system_matrix_rows, calculate_snr
export reconstruct_plan, reconstruct_lowlevel, load_reconstruction, convert_file

include("door.jl")
include("files.jl")
include("signals.jl")
include("plans.jl")
include("example.jl")
include("workload.jl")

end
