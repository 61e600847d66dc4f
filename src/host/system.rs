//! The operating system: its release, C library, kind of machine, and what it can compile with.

use super::machine::{Machine, version_in};
use super::{System, Told};
use crate::domain::{Glibc, Platform};

/// The platform that this program was built for; `None`: one without a name here.
pub fn platform() -> Option<Platform> {
    format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH).parse().ok()
}

pub(super) fn look(machine: &Machine) -> System {
    let kernel = machine.line("/proc/sys/kernel/osrelease");
    let release = os_release(machine);
    let glibc = glibc(machine);
    System {
        // What this program was compiled for: on this kernel it runs, and so do Python's wheels of it.
        platform: platform(),
        wsl: kernel.as_deref().and_then(wsl),
        distro: release("ID"),
        distro_version: release("VERSION_ID"),
        musl: glibc.is_none() && has_musl(machine),
        glibc,
        jetson: jetson(machine),
        l4t: l4t(machine),
        virtual_machine: hypervisor(machine),
        secure_boot: secure_boot(machine),
        shm_bytes: shared_memory(machine),
        compiler: compiler(machine),
        kernel,
    }
}

fn os_release(machine: &Machine) -> impl Fn(&str) -> Option<String> + use<> {
    let text =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| machine.read(path));
    let text = text.unwrap_or_default();
    move |key| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    }
}

/// `5.15.153.1-microsoft-standard-WSL2`; the first WSL, which has no GPU, ends in `-Microsoft`.
fn wsl(kernel: &str) -> Option<u8> {
    let second = kernel.contains("WSL2") || kernel.contains("microsoft-standard");
    kernel.to_lowercase().contains("microsoft").then_some(if second { 2 } else { 1 })
}

/// Where the C library lies: one name for each family of distributions.
const LIBC: &[&str] = &[
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/aarch64-linux-gnu/libc.so.6",
    "/lib/powerpc64le-linux-gnu/libc.so.6",
    "/lib64/libc.so.6",
    "/usr/lib64/libc.so.6",
    "/usr/lib/libc.so.6",
    "/lib/libc.so.6",
];

/// glibc says its version in its own bytes (`stable release version 2.36`); asking the library that this
/// program is linked with would answer for another root, or for none where it is static.
fn glibc(machine: &Machine) -> Option<Told<Glibc>> {
    const MARK: &[u8] = b" release version ";
    let path = LIBC.iter().find(|path| machine.is_file(path))?;
    let bytes = machine.bytes(path)?;
    let said = bytes.windows(MARK.len()).position(|window| window == MARK).and_then(|at| {
        let rest = &bytes[at + MARK.len()..];
        let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b'.')?;
        parse_glibc(std::str::from_utf8(&rest[..end]).ok()?)
    });
    // Before 2.34 the file was a link to `libc-2.31.so`.
    let named = || {
        let real = machine.real(path)?;
        parse_glibc(real.rsplit('/').next()?.strip_prefix("libc-")?.strip_suffix(".so")?)
    };
    said.or_else(named).map(|glibc| Told::new(glibc, *path))
}

/// `2.36` of `2.36.`, `2.36.9000`
fn parse_glibc(text: &str) -> Option<Glibc> {
    let mut parts = text.split('.');
    format!("{}.{}", parts.next()?, parts.next()?).parse().ok()
}

fn has_musl(machine: &Machine) -> bool {
    let names = machine.list("/lib").unwrap_or_default();
    names.iter().any(|name| name.starts_with("ld-musl-"))
}

fn jetson(machine: &Machine) -> Option<String> {
    let model = machine
        .line("/proc/device-tree/model")
        .or_else(|| machine.line("/sys/firmware/devicetree/base/model"))?;
    let boards = ["Jetson", "Orin", "Xavier", "Thor", "Tegra"];
    let is =
        boards.iter().any(|word| model.contains(word)) || machine.exists("/etc/nv_tegra_release");
    is.then_some(model)
}

/// `# R36 (release), REVISION: 4.3, GCID: ...` is 36.4.3. Images hold the package where they lack the file.
fn l4t(machine: &Machine) -> Option<String> {
    if let Some(line) = machine.line("/etc/nv_tegra_release") {
        let major = line.strip_prefix("# R")?.split_whitespace().next()?;
        let revision = line.split("REVISION: ").nth(1)?.split([',', ' ']).next()?;
        return Some(format!("{major}.{revision}"));
    }
    let version = super::container::debian_packages(machine)
        .into_iter()
        .find(|(name, _)| name == "nvidia-l4t-core")?
        .1;
    Some(version.split('-').next().unwrap_or_default().to_owned())
}

fn hypervisor(machine: &Machine) -> Option<String> {
    let said = |path: &str| machine.line(path).unwrap_or_default();
    let vendor = said("/sys/class/dmi/id/sys_vendor");
    let product = said("/sys/class/dmi/id/product_name");
    let known = [
        ("QEMU", "kvm"),
        ("KVM", "kvm"),
        ("VMware", "vmware"),
        ("innotek", "virtualbox"),
        ("VirtualBox", "virtualbox"),
        ("Xen", "xen"),
        ("Google Compute Engine", "google"),
        ("OpenStack", "kvm"),
        ("Parallels", "parallels"),
    ];
    let both = format!("{vendor} {product}");
    let named = known.iter().find(|(word, _)| both.contains(word)).map(|(_, name)| *name);
    // Bare metal of both clouds and Microsoft's own machines carry the same vendor.
    let cloud = match (vendor.as_str(), product.as_str()) {
        ("Amazon EC2", product) if !product.contains("metal") => Some("amazon"),
        ("Microsoft Corporation", "Virtual Machine") => Some("microsoft"),
        _ => None,
    };
    let flagged = || {
        let text = machine.read("/proc/cpuinfo")?;
        let line = text.lines().find(|line| line.starts_with("flags"))?;
        line.split_whitespace().any(|flag| flag == "hypervisor").then(|| "unnamed".to_owned())
    };
    named
        .or(cloud)
        .map(str::to_owned)
        .or_else(|| machine.line("/sys/hypervisor/type"))
        .or_else(flagged)
}

/// The last of the variable's five bytes; the four before are its attributes.
fn secure_boot(machine: &Machine) -> Option<bool> {
    let path = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    machine.bytes(path)?.get(4).map(|byte| *byte == 1)
}

/// Size of `/dev/shm` as it was mounted; without `size=` the kernel takes half of the memory.
fn shared_memory(machine: &Machine) -> Option<u64> {
    let mounts = machine.read("/proc/mounts")?;
    // Of several mounts at one place the last is the one that is seen.
    let mount = mounts.lines().rev().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            [_, "/dev/shm", kind, options, ..] => Some((kind, options)),
            _ => None,
        }
    })?;
    if mount.0 != "tmpfs" {
        return None;
    }
    if let Some(size) = mount.1.split(',').find_map(|option| option.strip_prefix("size=")) {
        return in_bytes(size);
    }
    let memory = machine.read("/proc/meminfo")?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)? / 2)
}

/// Bytes of `65536k`, the kernel's way to write it, or with another unit.
fn in_bytes(size: &str) -> Option<u64> {
    let unit = match size.chars().last()?.to_ascii_lowercase() {
        'k' => 1 << 10,
        'm' => 1 << 20,
        'g' => 1 << 30,
        _ => 1,
    };
    let number = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// The compiler that Triton and extensions take: `CC`, then gcc, then clang.
fn compiler(machine: &Machine) -> Option<Told<String>> {
    // `CC` may hold flags, or a launcher such as ccache before the compiler.
    let wanted = machine.env("CC").and_then(|cc| cc.split_whitespace().next());
    wanted.into_iter().chain(["gcc", "clang", "cc"]).find_map(|name| {
        let path = if name.starts_with('/') {
            machine.is_file(name).then(|| name.to_owned())
        } else {
            machine.which(name)
        };
        let path = path?;
        let said = machine.answer(&path, &["--version"])?;
        // `gcc (Debian 12.2.0-14+deb12u1) 12.2.0`: the distribution stands in brackets.
        let line = said.lines().next().unwrap_or_default();
        let after = line.rsplit_once(')').map_or(line, |(_, after)| after);
        let version = version_in(after).or_else(|| version_in(line))?;
        let name = path.rsplit('/').next().unwrap_or(name);
        Some(Told::new(format!("{name} {version}"), format!("{path} --version")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::machine::tests::machine;

    #[test]
    fn a_server_with_debian() {
        let libc = "\u{7f}ELF ... GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright";
        let (_root, machine) = machine(&[
            ("/proc/self/environ", "PATH=/usr/bin\0"),
            ("/proc/sys/kernel/osrelease", "6.1.0-25-amd64\n"),
            ("/etc/os-release", "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"),
            ("/lib/x86_64-linux-gnu/libc.so.6", libc),
            ("/lib/ld-musl-x86_64.so.1", "musl beside it"),
            ("/sys/class/dmi/id/sys_vendor", "QEMU\n"),
            ("/sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n"),
            (
                "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                "\u{6}\0\0\0\u{1}",
            ),
            ("/proc/mounts", "tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\n"),
            ("/proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n"),
            (
                "*/usr/bin/gcc",
                "#!/bin/sh\necho 'gcc (Debian 12.2.0-14+deb12u1) 12.2.0'\necho Copyright\n",
            ),
        ]);
        let system = look(&machine);
        assert_eq!(system.kernel.as_deref(), Some("6.1.0-25-amd64"));
        assert_eq!(system.distro.as_deref(), Some("debian"));
        assert_eq!(system.distro_version.as_deref(), Some("12"));
        let glibc = system.glibc.expect("a glibc");
        assert_eq!((glibc.value.to_string().as_str(), glibc.source.as_str()), ("2.36", LIBC[0]));
        assert!(!system.musl && system.wsl.is_none() && system.jetson.is_none());
        assert_eq!(system.virtual_machine.as_deref(), Some("kvm"));
        assert_eq!(system.secure_boot, Some(true));
        assert_eq!(system.shm_bytes, Some(8 << 20));
        #[cfg(unix)]
        assert_eq!(system.compiler.expect("a compiler").value, "gcc 12.2.0");
    }

    #[test]
    fn wsl_alpine_and_jetson() {
        let (_root, wsl) = machine(&[
            ("/proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n"),
            (
                "/proc/mounts",
                "none /dev/shm tmpfs rw,size=65536k 0 0\nx /dev/shm tmpfs rw,size=2g 0 0\n",
            ),
            ("/proc/cpuinfo", "flags\t\t: fpu hypervisor\n"),
        ]);
        let system = look(&wsl);
        assert_eq!((system.wsl, system.shm_bytes), (Some(2), Some(2 << 30)));
        assert_eq!(system.virtual_machine.as_deref(), Some("unnamed"));
        assert_eq!((system.secure_boot, system.compiler), (None, None));
        assert_eq!(super::wsl("4.4.0-19041-Microsoft"), Some(1));
        assert_eq!(super::wsl("6.8.0-45-generic"), None);

        let (_root, alpine) =
            machine(&[("/lib/ld-musl-x86_64.so.1", ""), ("/etc/os-release", "ID=alpine\n")]);
        let system = look(&alpine);
        assert!(system.musl && system.glibc.is_none());

        let (_root, jetson) = machine(&[
            ("/proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0"),
            (
                "/etc/nv_tegra_release",
                "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
            ),
            ("/lib64/libc-2.31.so", "no words"),
            ("/lib64/libc.so.6", "->libc-2.31.so"),
        ]);
        let system = look(&jetson);
        assert_eq!(system.jetson.as_deref(), Some("NVIDIA Jetson AGX Orin Developer Kit"));
        assert_eq!(system.l4t.as_deref(), Some("36.4.3"));
        #[cfg(unix)]
        assert_eq!(system.glibc.expect("a glibc").value.to_string(), "2.31");
    }
}
