//! What a job does until somebody gives it something better to do: proves that torch computes on every
//! GPU that it sees.

/// A program for `python -c`, which fails where a GPU is missing or computes something else.
///
/// The products are sums of 512 integers below 64: below 2^24, so single precision holds them exactly in
/// any order of summation, in TF32 too, and the integers of the CPU are the only right answer. `init`
/// raises what `is_available` would swallow. It holds no quote of a shell, `$` or backslash.
pub(super) const PROGRAM: &str = r#"import torch
print("torch", torch.__version__, "CUDA", torch.version.cuda)
torch.cuda.init()
seed = torch.Generator().manual_seed(1)
a = torch.randint(-7, 8, (512, 512), generator=seed)
b = torch.randint(-7, 8, (512, 512), generator=seed)
for gpu in range(torch.cuda.device_count()):
    major, minor = torch.cuda.get_device_capability(gpu)
    device = f"{torch.cuda.get_device_name(gpu)}, compute capability {major}.{minor}"
    product = a.float().to(gpu) @ b.float().to(gpu)
    if not torch.equal(product.cpu().long(), a @ b):
        raise SystemExit(f"wrong product on {device}")
    print("exact on", device)
"#;
