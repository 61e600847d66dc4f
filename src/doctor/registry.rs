//! The one list of checks, in the order of the chain.

use super::{
    Check, Link, Outcome, Subject, beside, container, driver, gpu, libraries, lock, product,
    selection, toolkit, user_driver, wheel,
};

const fn cause(name: &'static str, link: Link, run: fn(&Subject<'_>) -> Outcome) -> Check {
    Check { name, link, run, symptom: false }
}

const fn symptom(name: &'static str, link: Link, run: fn(&Subject<'_>) -> Outcome) -> Check {
    Check { name, link, run, symptom: true }
}

/// Every check. A later link is never reached on a machine whose earlier one is broken; inside a link
/// the check that says more comes first.
pub const REGISTRY: &[Check] = &[
    cause("gpu-present", Link::Gpu, gpu::present),
    cause("gpu-bound", Link::Gpu, gpu::bound),
    cause("gpu-alive", Link::Gpu, gpu::alive),
    cause("gpu-memory-errors", Link::Gpu, gpu::memory_errors),
    cause("gpu-free", Link::Gpu, gpu::free),
    cause("gpu-mig", Link::Gpu, gpu::mig),
    cause("gpu-cool", Link::Gpu, gpu::cool),
    cause("driver-loaded", Link::KernelDriver, driver::loaded),
    cause("driver-drives-cards", Link::KernelDriver, driver::drives_cards),
    cause("driver-started-cards", Link::KernelDriver, driver::started),
    cause("driver-restart", Link::KernelDriver, driver::restart),
    cause("fabric", Link::KernelDriver, driver::fabric),
    cause("libcuda-found", Link::UserDriver, user_driver::found),
    cause("libcuda-belongs", Link::UserDriver, user_driver::belongs),
    cause("device-nodes", Link::UserDriver, user_driver::nodes),
    symptom("nvml-answers", Link::UserDriver, user_driver::nvml),
    symptom("cuda-starts", Link::UserDriver, user_driver::starts),
    cause("container-has-gpu", Link::Container, container::has_gpu),
    cause("container-capabilities", Link::Container, container::capabilities),
    cause("container-requirement", Link::Container, container::requirement),
    cause("image-without-driver", Link::Container, container::driver_packages),
    cause("container-engine", Link::Container, container::engine),
    cause("cdi-specification", Link::Container, container::cdi),
    cause("shared-memory", Link::Container, container::shared_memory),
    cause("toolkit", Link::Toolkit, toolkit::toolkit),
    cause("torch-found", Link::Wheel, wheel::found),
    cause("torch-once", Link::Wheel, wheel::once),
    cause("torch-for-cuda", Link::Wheel, wheel::for_cuda),
    cause("driver-starts-torch", Link::Wheel, wheel::driver_fits),
    cause("torch-has-code", Link::Wheel, wheel::has_code),
    cause("cudnn-has-code", Link::Wheel, beside::cudnn),
    cause("torch-companions", Link::Wheel, beside::companions),
    cause("cuda-packages", Link::Wheel, beside::cuda_packages),
    cause("libraries-of-the-wheel", Link::Libraries, libraries::mapped),
    cause("library-path", Link::Libraries, libraries::library_path),
    symptom("torch-imports", Link::Libraries, wheel::imports),
    cause("visible-devices", Link::Selection, selection::visible),
    cause("devices-counted", Link::Selection, selection::counted),
    cause("device-order", Link::Selection, selection::order),
    symptom("torch-sees-devices", Link::Selection, selection::torch_sees),
    symptom("product", Link::Product, product::product),
    cause("lock-runs-here", Link::Lock, lock::runs_here),
    cause(lock::AS_LOCKED, Link::Lock, lock::as_locked),
];
