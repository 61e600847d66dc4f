//! L2: kernels of our own, first as PTX that the driver compiles, then as machine code.
//!
//! Nothing of the image takes part: what fails here is the driver's or the card's. The two forms tell a broken
//! compiler of PTX from a device that computes wrongly.
#![allow(unsafe_code, reason = "kernels are launched")]

mod images;

use std::ffi::c_void;
use std::ptr;
use std::time::{Duration, Instant};

use images::Images;

use crate::domain::{Code, CodeTarget, ComputeCapability};
use crate::matrix::Matrix;
use crate::verify::frame::Teller;
use crate::verify::gpu::{CudaError, Function, Gpu, Module};
use crate::verify::numerics::{Dtype, Operands, Output};
use crate::verify::plan::Job;
use crate::verify::proofs::{self, Backend, Product};
use crate::verify::{Check, status};

/// Longest that a call may take that starts the device or compiles for it.
const START: Duration = Duration::from_mins(1);

/// Rows and columns of C that a block makes, and threads along each of its sides. As in `kernels/*.cu`.
const TILE: usize = 32;
const SIDE: u32 = 16;

/// A module and its kernels.
struct Family {
    name: &'static str,
    /// What its kernels are for.
    title: &'static str,
    kernels: &'static [Kernel],
}

struct Kernel {
    name: &'static str,
    dtype: Dtype,
    output: Output,
    /// What its checks begin with, after the form.
    word: &'static str,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "simt",
        title: "kernels",
        kernels: &[
            Kernel { name: "simt_fp32", dtype: Dtype::Fp32, output: Output::F32, word: "fp32" },
            Kernel { name: "simt_int8", dtype: Dtype::Int8, output: Output::I32, word: "int8" },
        ],
    },
    Family {
        name: "mma",
        title: "kernels for tensor cores",
        kernels: &[
            Kernel { name: "mma_bf16", dtype: Dtype::Bf16, output: Output::F32, word: "bf16" },
            Kernel { name: "mma_tf32", dtype: Dtype::Tf32, output: Output::F32, word: "tf32" },
            Kernel { name: "mma_int8", dtype: Dtype::Int8, output: Output::I32, word: "int8-mma" },
        ],
    },
];

/// Runs the layer.
pub fn run(job: &Job, tell: &mut Teller<'_>) {
    let opened = Gpu::open(job.device.unwrap_or(0), &mut |call| tell.phase(call, START))
        .and_then(|gpu| Ok((gpu.capability()?, gpu)));
    match opened {
        Ok((device, gpu)) => prove(job, &gpu, device, tell),
        Err(err) => tell.check(status::explain(&err, "device")),
    }
}

fn prove(job: &Job, gpu: &Gpu, device: ComputeCapability, tell: &mut Teller<'_>) {
    let (images, matrix) = (Images::unpacked(), Matrix::embedded());
    let mut none = true;
    // The card is proven by the first form; of the second its own code, for which small matrices will do.
    let small = Job { quick: true, ..job.clone() };
    for (form, job) in [("ptx", job), ("cubin", &small)] {
        for family in FAMILIES {
            let asked = family.kernels.iter().filter(|kernel| job.dtypes.contains(&kernel.dtype));
            let kernels: Vec<&Kernel> = asked.collect();
            if kernels.is_empty() {
                continue;
            }
            none = false;
            let name = format!("{form}.{}", family.name);
            let Some(module) = module(gpu, &images, &matrix, family, &name, device, tell) else {
                continue;
            };
            for kernel in kernels {
                let prefix = format!("{form}.{}", kernel.word);
                tell.phase(format!("{prefix} cuModuleGetFunction"), START);
                match module.function(kernel.name) {
                    Ok(function) => {
                        let mut own = Own { gpu, function };
                        proofs::prove(&mut own, kernel.dtype, kernel.output, &prefix, job, tell);
                    }
                    Err(err) => tell.check(status::explain(&err, prefix)),
                }
                // A context that has met a fault answers every later call with it: it is told once.
                tell.phase(format!("{form}.{} cuCtxSynchronize", kernel.word), START);
                if let Err(err) = gpu.synchronize() {
                    let why = format!("not run, because the context is lost: {err}");
                    tell.check(Check::skip("rest", Code::ProgramFault, why));
                    return;
                }
            }
        }
    }
    if none {
        let text = "no kernel of ours multiplies the data types that are asked for";
        tell.check(Check::not_needed("dtypes", text));
    }
}

/// The module of a family in a form, `ptx` or `cubin`, and tells how its loading went.
fn module<'g>(
    gpu: &'g Gpu,
    images: &Images,
    matrix: &Matrix,
    family: &Family,
    name: &str,
    device: ComputeCapability,
    tell: &mut Teller<'_>,
) -> Option<Module<'g>> {
    let (target, version) = images.written_for(family.name);
    if !target.ptx_reaches(device) {
        tell.check(too_old(family, name, target, device));
        return None;
    }
    if name.starts_with("ptx") {
        let what = format!("PTX {version} for {target}");
        return load(gpu, images.ptx(family.name), &what, name, device, tell);
    }
    if let Some((target, image)) = images.cubin(family.name, device, matrix) {
        return load(gpu, image, &format!("machine code for {target}"), name, device, tell);
    }
    let text = format!("there is no machine code of ours for {device}; our PTX serves it");
    tell.check(Check::not_needed(name, text));
    None
}

/// The device came before what the kernels of a family are written for.
fn too_old(family: &Family, name: &str, from: CodeTarget, device: ComputeCapability) -> Check {
    let text = format!(
        "the device is {device}, and our {} are written for {} and later",
        family.title, from.capability
    );
    if family.name == "simt" {
        // Nothing of ours can be run on it.
        Check::skip(name, Code::ArchNotInBinary, text).help(
            "let the image's own programs prove it: `gpuseal verify --here --layer cublas,torch`",
        )
    } else {
        Check::not_needed(name, text)
    }
}

/// Loads a module, and tells how that went.
fn load<'g>(
    gpu: &'g Gpu,
    image: &[u8],
    what: &str,
    name: &str,
    device: ComputeCapability,
    tell: &mut Teller<'_>,
) -> Option<Module<'g>> {
    tell.phase(format!("{name} cuModuleLoadDataEx"), START);
    let start = Instant::now();
    let loaded = gpu.module(image);
    let milliseconds = (start.elapsed().as_secs_f64() * 1e4).round() / 10.0;
    match loaded {
        Ok(module) => {
            let text = format!("the driver takes {what} on a device of {device}");
            tell.check(Check::pass(name, text).number("milliseconds", milliseconds));
            Some(module)
        }
        Err(err) => {
            tell.check(refused(&err, what, name, device));
            None
        }
    }
}

/// Variables that make a driver ignore machine code, where its PTX is at hand or not.
const FORCED: &[&str] = &["CUDA_FORCE_PTX_JIT", "CUDA_FORCE_JIT"];

fn refused(err: &CudaError, what: &str, name: &str, device: ComputeCapability) -> Check {
    let machine_code = name.starts_with("cubin");
    let forced = FORCED.iter().find(|name| std::env::var_os(name).is_some_and(|v| v != "0"));
    let mut check = status::explain(err, name);
    match (err.status, forced) {
        (Some(209), Some(variable)) if machine_code => {
            check.code = Code::EnvPath;
            check.text = format!(
                "the driver refuses {what} on a device of {device}: {variable} makes it ignore machine code"
            );
            check.help = vec![format!("unset {variable}")];
        }
        // It is our code, and the image's own is another question.
        (Some(209), _) => {
            check.text = format!(
                "the driver refuses {what} on a device of {device}, which should run it: {}",
                err.text
            );
            check.help = vec![
                "another libcuda than the driver's may be loaded: look at the file that `gpuseal doctor` names".into(),
                "report this with the output of `gpuseal verify --format json`".into(),
            ];
        }
        _ => check.text = format!("{what}, on a device of {device}: {}", check.text),
    }
    check
}

/// A kernel of ours.
struct Own<'g> {
    gpu: &'g Gpu,
    function: Function<'g>,
}

impl Backend for Own<'_> {
    fn product(&mut self, operands: &Operands, output: Output) -> Result<Product, CudaError> {
        let shape = operands.shape;
        let size = |size: usize| u32::try_from(size).unwrap_or(0);
        let grid = [size(shape.m.div_ceil(TILE)), size(shape.n.div_ceil(TILE)), 1];
        let mut sizes = [shape.m, shape.n, shape.k].map(size);
        proofs::on_device(self.gpu, operands, output, &mut |a, b, c| {
            let mut pointers = [a, b, c];
            let pointers = pointers.iter_mut().map(|at| ptr::from_mut(at).cast());
            let sizes = sizes.iter_mut().map(|at| ptr::from_mut(at).cast());
            let mut params: Vec<*mut c_void> = pointers.chain(sizes).collect();
            // SAFETY: three device pointers and three integers, as kernels/*.cu declare them; the buffers
            // are of these sizes.
            unsafe { self.gpu.launch(&self.function, grid, [SIDE, SIDE, 1], &mut params) }
        })
    }
}
