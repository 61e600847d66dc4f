# What torch says of itself, behind `tell.py`. The last line says how it ended.


def product(torch, index):
    told = {"device": index}
    try:
        told["name"] = torch.cuda.get_device_name(index)
        told["capability"] = "%d.%d" % torch.cuda.get_device_capability(index)
        free, total = torch.cuda.mem_get_info(index)
        told["memory"] = [total - free, total]
        # Sums of 256 integers below 50 are exact in every order and in TF32 too: the integers of the CPU
        # are the only right answer.
        seed = torch.Generator().manual_seed(index)
        a = torch.randint(-7, 8, (256, 256), generator=seed)
        b = torch.randint(-7, 8, (256, 256), generator=seed)
        gpu = f"cuda:{index}"
        result = a.float().to(gpu) @ b.float().to(gpu)
        told["right"] = torch.equal(result.cpu().long(), a @ b)
    except Exception as error:
        told["error"] = words(error)
    return told


def ask(torch, said):
    told = {"version": str(torch.__version__), "cuda": torch.version.cuda}
    for name, call in [
        # The list without a GPU too, where `get_arch_list` gives none.
        ("arch_list", lambda: torch._C._cuda_getArchFlags().split()),
        ("cudnn", lambda: torch.backends.cudnn.version()),
        ("available", lambda: torch.cuda.is_available()),
        ("device_count", lambda: torch.cuda.device_count()),
    ]:
        tell(phase=name)
        try:
            told[name] = call()
        except Exception as error:
            # A build without CUDA lacks some of these functions.
            if not isinstance(error, AttributeError):
                said.append(words(error))
    if torch.version.cuda or getattr(torch.version, "hip", None):
        tell(phase="torch.cuda.init")
        try:
            # `is_available` swallows why it says no.
            torch.cuda.init()
        except Exception as error:
            said.append(words(error))
    told["products"] = []
    for index in range(told.get("device_count") or 0):
        tell(phase=f"a matrix product on device {index}")
        told["products"].append(product(torch, index))
    return told


def main():
    tell(
        python="%d.%d.%d" % sys.version_info[:3],
        prefix=sys.prefix,
        path=sys.path,
        phase="import torch",
    )
    os.environ.setdefault("CUDA_CACHE_DISABLE", "1")
    said = []
    with warnings.catch_warnings(record=True) as caught:
        try:
            import torch
        except ImportError as error:
            tell(absent=getattr(error, "name", None) == "torch", failed=words(error))
            return
        except Exception as error:
            tell(absent=False, failed=words(error))
            return
        told = ask(torch, said)
    ours = (UserWarning, RuntimeWarning)
    said += [str(one.message)[:2000] for one in caught if issubclass(one.category, ours)]
    tell(torch=dict(told, said=said[:20], files=mapped()))


main()
