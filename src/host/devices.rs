//! Cards on the PCI bus, device nodes, and what the driver said to the kernel log.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::machine::{Machine, why};
use super::{Node, PciCard, Told};

/// NVIDIA's display (`0x0300`) and 3D (`0x0302`) controllers.
pub(super) fn pci(machine: &Machine) -> Option<Told<Vec<PciCard>>> {
    const BUS: &str = "/sys/bus/pci/devices";
    let card = |address: String| {
        let value = |name: &str| machine.line(&format!("{BUS}/{address}/{name}"));
        if value("vendor")? != "0x10de" || !value("class")?.starts_with("0x03") {
            return None;
        }
        let device = value("device")?;
        let driver = std::fs::read_link(machine.at(format!("{BUS}/{address}/driver"))).ok();
        let driver = driver.and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned()));
        Some(PciCard { address, device, driver })
    };
    let cards = machine.list(BUS)?.into_iter().filter_map(card).collect();
    Some(Told::new(cards, BUS))
}

/// Longest that a driver may take to open a node: a card that sleeps is woken by it.
const WAKE: Duration = Duration::from_secs(15);

/// NVIDIA's nodes, and `/dev/dxg` of WSL. All are opened at the same time: each may take seconds.
pub(super) fn nodes(machine: &Machine) -> Option<Told<Vec<Node>>> {
    let mut paths = Vec::new();
    for name in machine.list("/dev")? {
        if !name.starts_with("nvidia") && !matches!(name.as_str(), "dxg" | "nvmap") {
            continue;
        }
        let path = format!("/dev/{name}");
        if machine.is_folder(&path) {
            let inside = machine.list(&path).unwrap_or_default();
            paths.extend(inside.into_iter().map(|name| format!("{path}/{name}")));
        } else {
            paths.push(path);
        }
    }
    let end = Instant::now() + WAKE;
    let opened: Vec<_> = paths
        .into_iter()
        .map(|path| {
            let (sender, receiver) = mpsc::channel();
            let file = machine.at(&path);
            // Capabilities of MIG and IMEX are files to read; nobody may write them.
            let write = !path.contains("-caps");
            thread::spawn(move || drop(sender.send(open(&file, write))));
            (path, receiver)
        })
        .collect();
    let node = |(path, receiver): (String, mpsc::Receiver<Option<String>>)| {
        let left = end.saturating_duration_since(Instant::now());
        let refused = receiver.recv_timeout(left).unwrap_or_else(|_| Some("no answer".into()));
        Node { mode: mode(&machine.at(&path)), refused, path }
    };
    Some(Told::new(opened.into_iter().map(node).collect(), "/dev"))
}

/// The error's name, when it cannot be opened.
fn open(file: &Path, write: bool) -> Option<String> {
    let err = std::fs::OpenOptions::new().read(true).write(write).open(file).err()?;
    Some(match err.raw_os_error() {
        Some(1) => "EPERM".into(),
        Some(2) => "ENOENT".into(),
        Some(5) => "EIO".into(),
        Some(6) => "ENXIO".into(),
        Some(12) => "ENOMEM".into(),
        Some(13) => "EACCES".into(),
        Some(16) => "EBUSY".into(),
        Some(19) => "ENODEV".into(),
        Some(22) => "EINVAL".into(),
        Some(30) => "EROFS".into(),
        _ => why(&err),
    })
}

#[cfg(unix)]
fn mode(file: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(file).map_or_else(
        |err| why(&err),
        |about| format!("{:04o} {}:{}", about.mode() & 0o7777, about.uid(), about.gid()),
    )
}

#[cfg(not(unix))]
fn mode(_file: &Path) -> String {
    String::new()
}

/// Most lines of the log that are kept: the first show the cause, the last the state.
const FIRST: usize = 50;
const LAST: usize = 150;

/// Lines of the NVIDIA driver since the machine was started.
pub(super) fn kernel_log(machine: &Machine) -> Option<Told<Vec<String>>> {
    const KMSG: &str = "/dev/kmsg";
    let refused = match ring(&machine.at(KMSG)) {
        Ok(text) => return Some(Told::new(lines(&text), KMSG)),
        Err(err) => format!("{KMSG}: {}", why(&err)),
    };
    for path in ["/var/log/kern.log", "/var/log/messages", "/var/log/dmesg"] {
        if let Ok(text) = tail(&machine.at(path)) {
            // The file goes on over restarts: only what came after the last one speaks of today.
            let start = text.rfind("Linux version ").unwrap_or(0);
            let of_kernel: Vec<&str> = text[start..]
                .lines()
                .filter(|line| line.contains(" kernel: ") || line.starts_with('['))
                .collect();
            return Some(Told::new(lines(&of_kernel.join("\n")), path));
        }
    }
    if let Some(journal) = machine.which("journalctl") {
        let args = ["--dmesg", "--quiet", "--no-pager", "--output=cat", "--lines=5000"];
        if let Some(text) = machine.answer(&journal, &args).filter(|text| !text.is_empty()) {
            return Some(Told::new(lines(&text), "journalctl --dmesg"));
        }
    }
    machine.missed("kernel log", refused);
    None
}

/// The kernel's ring of messages: each read gives one record, until there is none.
fn ring(file: &Path) -> io::Result<String> {
    const MOST: usize = 16 << 20;
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    // O_NONBLOCK: at the end of the ring a read would wait for the next message.
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, 0o4000);
    let mut ring = options.open(file)?;
    let mut all = Vec::new();
    let mut record = [0; 16384];
    while all.len() < MOST {
        match ring.read(&mut record) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&record[..count]),
            Err(err) => match err.kind() {
                io::ErrorKind::WouldBlock => break,
                // The oldest record was overwritten meanwhile; the next read goes on behind it.
                io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted => (),
                _ => return Err(err),
            },
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

fn tail(file: &Path) -> io::Result<String> {
    const MOST: u64 = 4 << 20;
    let mut file = std::fs::File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Messages that matter, without what stands before them: time, host, `kernel:`, kmsg's numbers.
fn lines(text: &str) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for line in text.lines() {
        if !["NVRM", "Xid", "nvidia", "nouveau", "NVLink", "nvswitch"]
            .iter()
            .any(|w| line.contains(w))
        {
            continue;
        }
        let line = line.split_once(" kernel: ").map_or(line, |(_, rest)| rest);
        let line = match line.split_once(';') {
            // `4,1403,51234567,-;NVRM: ...`
            Some((head, rest))
                if head.split(',').count() >= 3
                    && head.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                rest
            }
            _ => line,
        };
        let line = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((time, rest)) if time.trim().parse::<f64>().is_ok() => rest,
            _ => line,
        };
        let line: String = line.trim().chars().take(500).collect();
        if list.last() != Some(&line) {
            list.push(line);
        }
    }
    if list.len() > FIRST + LAST {
        list.drain(FIRST..list.len() - LAST);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::machine::tests::machine;

    #[test]
    fn cards_and_their_drivers() {
        let (_root, machine) = machine(&[
            ("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
            ("/sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n"),
            ("/sys/bus/pci/devices/0000:01:00.0/device", "0x2330\n"),
            ("/sys/bus/pci/devices/0000:01:00.0/driver", "->../../../../bus/pci/drivers/vfio-pci"),
            ("/sys/bus/pci/devices/0000:02:00.0/vendor", "0x10de\n"),
            ("/sys/bus/pci/devices/0000:02:00.0/class", "0x030000\n"),
            ("/sys/bus/pci/devices/0000:02:00.0/device", "0x2684\n"),
            // The sound of the same card, and another vendor's display.
            ("/sys/bus/pci/devices/0000:02:00.1/vendor", "0x10de\n"),
            ("/sys/bus/pci/devices/0000:02:00.1/class", "0x040300\n"),
            ("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n"),
            ("/sys/bus/pci/devices/0000:00:02.0/class", "0x030000\n"),
        ]);
        let cards = pci(&machine).expect("a bus").value;
        assert_eq!(cards.len(), 2);
        assert_eq!(cards[0].device, "0x2330");
        #[cfg(unix)]
        assert_eq!(cards[0].driver.as_deref(), Some("vfio-pci"));
        assert_eq!(cards[1].driver, None);
        let (_root, none) = crate::host::machine::tests::machine(&[("/sys/bus/pci/devices/", "")]);
        assert_eq!(pci(&none).expect("a bus").value, []);
        let (_root, nothing) = crate::host::machine::tests::machine(&[]);
        assert_eq!(pci(&nothing), None);
    }

    #[cfg(unix)]
    #[test]
    fn nodes_are_opened() {
        let (root, machine) = machine(&[
            ("/dev/nvidia0", ""),
            ("/dev/nvidiactl", ""),
            ("/dev/nvidia-caps/nvidia-cap1", ""),
            ("/dev/null2", ""),
        ]);
        // A socket is refused like a node without a driver behind it.
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("dev/nvidia-uvm"))
            .expect("a socket");
        let nodes = nodes(&machine).expect("a folder").value;
        let told: Vec<_> =
            nodes.iter().map(|node| (node.path.as_str(), node.refused.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("/dev/nvidia-caps/nvidia-cap1", None),
                ("/dev/nvidia-uvm", Some("ENXIO")),
                ("/dev/nvidia0", None),
                ("/dev/nvidiactl", None)
            ]
        );
        assert!(nodes[0].mode.starts_with("0644 "), "{}", nodes[0].mode);
    }

    #[test]
    fn the_log_of_the_kernel() {
        let (_root, ring) = machine(&[(
            "/dev/kmsg",
            "6,1,100,-;Linux version 6.8\n4,339,514,-;NVRM: Xid (PCI:0000:01:00): 79, pid=7, GPU has fallen off the bus.\n SUBSYSTEM=pci\n6,340,515,-;eth0 up\n",
        )]);
        let told = kernel_log(&ring).expect("a log");
        assert_eq!(told.source, "/dev/kmsg");
        assert_eq!(
            told.value,
            ["NVRM: Xid (PCI:0000:01:00): 79, pid=7, GPU has fallen off the bus."]
        );

        let (_root, file) = machine(&[(
            "/var/log/kern.log",
            "Nov  1 01:02:03 box kernel: [    9.1] NVRM: of an earlier start\n\
             Nov  2 01:02:03 box kernel: [    0.0] Linux version 6.8.0\n\
             Nov  2 01:02:03 box nvidia-persistenced[7]: says the service\n\
             Nov  2 01:02:03 box kernel: [   12.3] nvidia: module verification failed\n\
             Nov  2 01:02:03 box kernel: [   12.3] nvidia: module verification failed\n",
        )]);
        assert_eq!(kernel_log(&file).expect("a log").value, ["nvidia: module verification failed"]);

        let (_root, none) = machine(&[]);
        assert_eq!(kernel_log(&none), None);
        assert_eq!(none.all_missed()[0].what, "kernel log");

        let flood: Vec<String> = (0..1000).map(|n| format!("NVRM: line {n}")).collect();
        let kept = lines(&flood.join("\n"));
        assert_eq!(kept.len(), FIRST + LAST);
        assert_eq!((kept[0].as_str(), kept[199].as_str()), ("NVRM: line 0", "NVRM: line 999"));
    }
}
