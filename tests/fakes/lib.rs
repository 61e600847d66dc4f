//! Libraries of NVIDIA's that compute on the CPU and fail on demand, for machines without a GPU: libcuda, NVML,
//! cuBLAS, cuDNN, NCCL. One shared object holds all of them; tests copy it under each name (`support::fakes`).
//!
//! What goes wrong stands in the variable `FAKE_DRIVER`, see `fault`. Device pointers are pointers of the host.
#![allow(unsafe_code, reason = "these are C interfaces")]
#![allow(
    clippy::missing_safety_doc,
    clippy::missing_panics_doc,
    clippy::many_single_char_names,
    missing_docs,
    reason = "as NVIDIA's headers declare them"
)]
#![allow(unsafe_op_in_unsafe_fn, reason = "nothing here is safer outside of a block")]
#![allow(non_snake_case, reason = "the names are NVIDIA's")]

pub mod blas;
pub mod cuda;
pub mod dnn;
pub mod fault;
pub mod gemm;
pub mod module;
pub mod nccl;
pub mod nvml;
