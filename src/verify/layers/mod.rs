//! One file for each layer. Each runs in a child of its own, and tells what it finds as it goes.

mod cublas;
mod cuda;
mod cudnn;
mod kernel;
mod nccl;
mod torch;

use super::frame::Teller;
use super::plan::Job;
use super::{Layer, image};

/// Does a job in this process, which may not survive it.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    match job.layer {
        Layer::Static => image::versions(job, tell),
        // It asks no library of the image: the supervisor does it itself.
        Layer::Driver => (),
        Layer::Cuda => cuda::run(job, tell),
        Layer::Kernel => kernel::run(job, tell),
        Layer::Cublas => cublas::run(job, tell),
        Layer::Cudnn => cudnn::run(job, tell),
        Layer::Torch => torch::run(job, tell),
        Layer::Nccl => nccl::run(job, tell),
    }
    tell.done();
}
