//! What a status of cuBLAS means to the user.

use std::ffi::c_int;

use crate::domain::Code;
use crate::verify::gpu::CudaError;
use crate::verify::{Check, status};

/// Statuses with their names, what they mean here, and what to do.
///
/// Source: `cublas_api.h`, `cublasStatus_t`.
const STATUSES: &[(c_int, &str, &str, &str)] = &[
    (
        1,
        "CUBLAS_STATUS_NOT_INITIALIZED",
        "cuBLAS cannot use the driver or the device",
        "see the layers below: without a context that works, no library of CUDA starts",
    ),
    (
        3,
        "CUBLAS_STATUS_ALLOC_FAILED",
        "cuBLAS got no memory on the device",
        "free the memory of the GPU: `nvidia-smi` lists the processes that hold it",
    ),
    (
        7,
        "CUBLAS_STATUS_INVALID_VALUE",
        "cuBLAS refuses an argument",
        "the two libraries may belong to different versions: install torch's own nvidia-cublas package again",
    ),
    (
        8,
        "CUBLAS_STATUS_ARCH_MISMATCH",
        "this cuBLAS has no code for the device",
        "lock a CUDA whose libraries know the card: `gpuseal why` names them",
    ),
    (
        11,
        "CUBLAS_STATUS_MAPPING_ERROR",
        "cuBLAS cannot reach memory of the device",
        "look for the GPU's faults in the kernel log (`dmesg`, lines with `Xid`)",
    ),
    (
        13,
        "CUBLAS_STATUS_EXECUTION_FAILED",
        "a kernel of cuBLAS failed on the device",
        "look for the GPU's faults in the kernel log (`dmesg`, lines with `Xid`)",
    ),
    (
        14,
        "CUBLAS_STATUS_INTERNAL_ERROR",
        "cuBLAS failed inside",
        "look for the GPU's faults in the kernel log, and whether another CUDA is on LD_LIBRARY_PATH",
    ),
    (
        15,
        "CUBLAS_STATUS_NOT_SUPPORTED",
        "this cuBLAS has no such product for the device",
        "lock a CUDA whose cuBLAS has it",
    ),
    (
        16,
        "CUBLAS_STATUS_LICENSE_ERROR",
        "cuBLAS found no license",
        "the card needs a license of NVIDIA's for computing, as virtual GPUs do",
    ),
];

/// `CUBLAS_STATUS_NOT_SUPPORTED`
pub(super) const NOT_SUPPORTED: c_int = 15;

/// A call that failed as the check `name`, of cuBLAS or of libcuda.
pub(super) fn explain(err: &CudaError, name: impl Into<String>) -> Check {
    if !err.call.starts_with("cublas") {
        return status::explain(err, name);
    }
    let known = STATUSES.iter().find(|row| Some(row.0) == err.status);
    let code = match err.status {
        // It has no such function.
        None => Code::CompanionMismatch,
        Some(1) => Code::DriverState,
        Some(3) => Code::OutOfMemory,
        Some(8) => Code::ArchNotInBinary,
        Some(11 | 13) => Code::HardwareFault,
        Some(_) => Code::Unknown,
    };
    let mut check = Check::fail(name, code, err.to_string()).number("call", err.call);
    if let Some(status) = err.status {
        check = check.number("status", status);
    }
    let otherwise = "look the status up in NVIDIA's documentation of cuBLAS, and in the kernel log";
    check.help(known.map_or(otherwise, |row| row.3))
}

/// `15 CUBLAS_STATUS_NOT_SUPPORTED: this cuBLAS has no such product for the device`
pub(super) fn words(status: c_int) -> String {
    STATUSES.iter().find(|row| row.0 == status).map_or_else(
        || format!("{status}, a status that no header knows"),
        |(_, name, meaning, _)| format!("{status} {name}: {meaning}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_named_with_what_to_do() {
        let err = CudaError { call: "cublasCreate_v2", status: Some(8), text: words(8) };
        let check = explain(&err, "bf16.exact-integer");
        assert_eq!(check.code, Code::ArchNotInBinary);
        assert!(check.text.contains("CUBLAS_STATUS_ARCH_MISMATCH"), "{}", check.text);
        assert_eq!(check.help.len(), 1);
        // What nobody knows stays a number.
        assert!(words(77).starts_with("77, "));
    }
}
