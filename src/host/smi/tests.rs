use super::*;
use crate::host::Process;

#[track_caller]
fn told(text: &str) -> Smi {
    match read(text) {
        Some(Answer::Told(smi)) => smi,
        other => panic!("{other:?}"),
    }
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Version of nvidia-smi, driver, CUDA.
fn versions(smi: &Smi) -> [String; 3] {
    [shown(smi.version), shown(smi.driver), shown(smi.cuda)]
}

#[track_caller]
fn failing(text: &str) -> (Option<i32>, String) {
    match read(text) {
        Some(Answer::Failed(Failure { call, code, text })) if call == "nvidia-smi" => (code, text),
        other => panic!("{other:?}"),
    }
}

const MIB: u64 = 1 << 20;

const TWO_CARDS: &str = "\
Tue Mar  4 10:00:00 2025
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 570.86.15              Driver Version: 570.86.15      CUDA Version: 12.8     |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:19:00.0 Off |                    3 |
| N/A   38C    P0            113W /  700W |      88MiB /  81559MiB |      0%      Default |
|                                         |                        |             Disabled |
+-----------------------------------------+------------------------+----------------------+
|   1  NVIDIA GeForce RTX 3060 ...    Off |   00000000:3B:00.0 Off |                  N/A |
| 30%   29C    P8             10W /  170W |       1MiB /  12288MiB |    100%   E. Process |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+

+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|        ID   ID                                                               Usage      |
|=========================================================================================|
|    0   N/A  N/A            4711      C   ...envs/train/bin/python               3000MiB |
|    0   N/A  N/A            4712      G   /usr/lib/xorg/Xorg                       80MiB |
|    1   N/A  N/A             815    C+G   VLLM::EngineCore                           N/A |
+-----------------------------------------------------------------------------------------+
";

#[test]
fn the_table() {
    let smi = told(TWO_CARDS);
    assert_eq!(versions(&smi), ["570.86.15", "570.86.15", "12.8"]);
    let first = Device {
        name: "NVIDIA H100 80GB HBM3".into(),
        address: Some("00000000:19:00.0".into()),
        memory_total: Some(81559 * MIB),
        memory_used: Some(88 * MIB),
        compute_mode: Some("Default".into()),
        mig: Some(false),
        persistence: Some(true),
        ecc: Some(true),
        ecc_uncorrected: Some(3),
        processes: Some(vec![Process {
            pid: 4711,
            name: Some("python".into()),
            memory: Some(3000 * MIB),
        }]),
        temperature: Some(38),
        ..Device::default()
    };
    let second = Device {
        name: "NVIDIA GeForce RTX 3060 ...".into(),
        address: Some("00000000:3B:00.0".into()),
        memory_total: Some(12288 * MIB),
        memory_used: Some(MIB),
        compute_mode: Some("Exclusive_Process".into()),
        persistence: Some(false),
        processes: Some(vec![Process {
            pid: 815,
            name: Some("VLLM::EngineCore".into()),
            memory: None,
        }]),
        temperature: Some(29),
        ..Device::default()
    };
    assert_eq!(smi.devices, [first, second]);
}

#[test]
fn inside_a_log() {
    let plain = told(TWO_CARDS);
    let prefixed = |prefix: &str| {
        TWO_CARDS.lines().fold(String::new(), |log, line| log + prefix + line + "\n")
    };
    for log in [
        prefixed("2025-03-04T10:00:00.1234567Z "),
        prefixed("web-1  | "),
        prefixed("> "),
        prefixed("\u{1b}[36m[rank0]\u{1b}[0m \u{1b}[1m"),
        TWO_CARDS.replace('\n', "\r\n"),
        format!("Epoch 1 | loss 0.1 | 30% Off\n{TWO_CARDS}Epoch 2 | 0 x Off | N/A\n"),
        // Twice, as `watch` leaves it.
        format!("{TWO_CARDS}\n{TWO_CARDS}"),
        // A failure elsewhere in the text.
        format!(
            "Failed to initialize NVML: Unknown Error\n{TWO_CARDS}nvidia-smi: command not found\n"
        ),
    ] {
        assert_eq!(told(&log), plain, "{log}");
    }
    // What Markdown leaves of the spaces.
    let squeezed: Vec<String> =
        TWO_CARDS.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(told(&squeezed.join("\n")), plain);
}

#[test]
fn banners() {
    let read = |line: &str| versions(&told(line));
    // On WSL nvidia-smi is of Linux, and the driver of Windows.
    assert_eq!(
        read("| NVIDIA-SMI 550.54.10   Driver Version: 551.61   CUDA Version: 12.4 |"),
        ["550.54.10", "551.61", "12.4"]
    );
    assert_eq!(
        read("| NVIDIA-SMI 610.43.02    KMD Version: 610.43.02   CUDA UMD Version: 13.3   |"),
        ["610.43.02", "610.43.02", "13.3"]
    );
    for unknown in ["N/A", "ERR!", "Not Found"] {
        let line =
            format!("| NVIDIA-SMI 580.65.06  Driver Version: 580.65.06  CUDA Version: {unknown} |");
        assert_eq!(read(&line), ["580.65.06", "580.65.06", "-"]);
    }
    assert_eq!(
        read("| NVIDIA-SMI 390.77                 Driver Version: 390.77                    |"),
        ["390.77", "390.77", "-"]
    );
    // Another driver is another machine, or another day.
    let old = TWO_CARDS.replace("570.86.15", "535.161.08").replace("H100 80GB HBM3", "H100 PCIe");
    assert_eq!(told(&format!("{old}{TWO_CARDS}")), told(TWO_CARDS));
}

#[test]
fn two_lines_and_windows() {
    let smi = told(
        "\
| NVIDIA-SMI 418.67       Driver Version: 418.67       CUDA Version: 10.1     |
| GPU  Name        Persistence-M| Bus-Id        Disp.A | Volatile Uncorr. ECC |
|   0  Tesla V100-SXM2...  Off  | 00000000:00:04.0 Off |                  Off |
| N/A   77C    P0   ERR! /  70W |    163MiB / 15079MiB |     95%   Prohibited |
+-------------------------------+----------------------+----------------------+
| Processes:                                                       GPU Memory |
|  GPU       PID   Type   Process name                             Usage      |
|    0      1752      C   python                                       153MiB |
|    1                  Not Supported                                         |
",
    );
    let card = &smi.devices[0];
    assert_eq!((card.name.as_str(), card.ecc, card.mig), ("Tesla V100-SXM2...", Some(false), None));
    assert_eq!(card.compute_mode.as_deref(), Some("Prohibited"));
    // The power of a healthy card may fail.
    assert_eq!(card.failure, None);
    assert_eq!(card.processes.as_ref().map(Vec::len), Some(1));
    assert_eq!(smi.devices.len(), 1);

    let smi = told(
        "\
| NVIDIA-SMI 572.16                 Driver Version: 572.16         CUDA Version: 12.8     |
| GPU  Name                  Driver-Model | Bus-Id          Disp.A | Volatile Uncorr. ECC |
|   0  NVIDIA GeForce RTX 4090      WDDM  |   00000000:01:00.0  On |                  Off |
|  0%   43C    P8             20W /  450W |    1500MiB /  24564MiB |      3%      Default |
| Processes:                                                                              |
|    0   N/A  N/A            2424    C+G   ...indows\\System32\\Some App.exe            N/A |
|    0   N/A  N/A            2425    C+G   Insufficient Permissions                   N/A |
",
    );
    let card = &smi.devices[0];
    assert_eq!((card.name.as_str(), card.persistence), ("NVIDIA GeForce RTX 4090", None));
    let names: Vec<_> = card.processes.iter().flatten().map(|p| p.name.as_deref()).collect();
    assert_eq!(names, [Some("Some App.exe"), None]);
}

#[test]
fn a_jetson_and_a_lost_card() {
    let smi = told(
        "\
| NVIDIA-SMI 540.4.0                Driver Version: 540.4.0      CUDA Version: 12.6     |
|   0  Orin (nvgpu)                  N/A  | N/A              N/A |                  N/A |
| N/A   N/A  N/A               N/A /  N/A | Not Supported        |     N/A          N/A |
|                                         |                      |                  N/A |
",
    );
    assert_eq!(smi.devices, [Device { name: "Orin (nvgpu)".into(), ..Device::default() }]);
    let smi = told(
        "\
| NVIDIA-SMI 535.54.03              Driver Version: 535.54.03    CUDA Version: 12.2     |
|   0  NVIDIA A40                     On  | 00000000:41:00.0 Off |                 ERR! |
|ERR!  ERR! ERR!             ERR! / ERR!  |    ERR! / 46068MiB   |    ERR!      Default |
",
    );
    let failure = smi.devices[0].failure.as_ref().expect("it is gone");
    assert!(failure.text.starts_with("ERR!") && failure.code.is_none());
    assert_eq!((smi.devices[0].ecc, smi.devices[0].temperature), (None, None));
}

const MIG: &str = "\
| NVIDIA-SMI 535.183.01             Driver Version: 535.183.01   CUDA Version: 12.2     |
|   0  NVIDIA A100-SXM4-40GB          On  | 00000000:07:00.0 Off |                   On |
| N/A   31C    P0              45W / 400W |     38MiB / 40960MiB |     N/A      Default |
|                                         |                      |             Enabled* |
+-----------------------------------------+----------------------+----------------------+
| MIG devices:                                                                          |
+------------------+--------------------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |                   Memory-Usage |        Vol|      Shared           |
|==================+================================+===========+=======================|
|  0    3   0   0  |              19MiB / 19968MiB  | 42      0 |  3   0    2    0    0 |
|                  |               0MiB / 32767MiB  |           |                       |
+------------------+--------------------------------+-----------+-----------------------+
|  0    9   0   1  |              10MiB /  4864MiB  | 14      0 |  1   0    0    0    0 |
+------------------+--------------------------------+-----------+-----------------------+
";

const LIST: &str = "\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-00000000-1111-2222-3333-444444444444)
  MIG 3g.20gb     Device  0: (UUID: MIG-00000000-1111-2222-3333-444444444445)
  MIG 1g.5gb      Device  1: (UUID: MIG-00000000-1111-2222-3333-444444444446)
GPU 1: NVIDIA L4 (UUID: GPU-00000000-1111-2222-3333-444444444447)
";

#[test]
fn instances() {
    let smi = told(MIG);
    let card = &smi.devices[0];
    assert_eq!((card.mig, card.ecc, card.ecc_uncorrected), (Some(true), Some(true), None));
    assert_eq!(card.mig_instances, ["19968MiB", "4864MiB"]);
    assert_eq!(card.memory_total, Some(40960 * MIB));
    assert_eq!(told(&format!("{MIG}{MIG}")).devices[0].mig_instances.len(), 2);
    let none = told(&MIG.replace("|  0    ", "|  No MIG devices found "));
    assert_eq!((none.devices[0].mig, none.devices[0].mig_instances.len()), (Some(true), 0));

    let listed = told(LIST);
    assert_eq!(versions(&listed), ["-", "-", "-"]);
    assert_eq!(listed.devices[0].mig_instances, ["3g.20gb", "1g.5gb"]);
    assert_eq!(listed.devices[1].name, "NVIDIA L4");
    assert_eq!(listed.devices[1].mig, None);
    // Together they say more, whichever comes first.
    for both in [format!("{LIST}{MIG}"), format!("{MIG}{LIST}")] {
        let smi = told(&both);
        assert_eq!(smi.devices.len(), 2);
        assert_eq!(smi.devices[0].mig_instances, ["3g.20gb", "1g.5gb"], "{both}");
        assert_eq!(smi.devices[0].memory_total, Some(40960 * MIB));
    }
}

const LONG: &str = "\
==============NVSMI LOG==============

Timestamp                                 : Fri Jun  5 10:00:00 2026
Driver Version                            : 610.43.02 [Deprecated; will be removed in CUDA 14.0. Use KMD Version instead]
CUDA Version                              : 13.3 [Deprecated; will be removed in CUDA 14.0. Use CUDA UMD Version instead]
KMD Version                               : 610.43.02
CUDA UMD Version                          : 13.3
vGPU Driver Capability
        Heterogenous Multi-vGPU           : Supported

Attached GPUs                             : 2
GPU 00000000:19:00.0
    Product Name                          : NVIDIA H100 80GB HBM3
    Persistence Mode                      : Enabled
    MIG Mode
        Current                           : Disabled
        Pending                           : Enabled
    PCI
        GPU Link Info
            PCIe Generation
                Max                       : 5
                Current                   : 1
                Device Current            : 1
            Link Width
                Max                       : 16x
                Current                   : 8x
    Clocks Event Reasons
        Idle                              : Not Active
        HW Slowdown                       : Active
            HW Thermal Slowdown           : Active
            HW Power Brake Slowdown       : Not Active
    FB Memory Usage
        Total                             : 81559 MiB
        Reserved                          : 565 MiB
        Used                              : 17 MiB
    BAR1 Memory Usage
        Total                             : 131072 MiB
        Used                              : 1 MiB
    Compute Mode                          : Exclusive_Process
    ECC Mode
        Current                           : Enabled
        Pending                           : Enabled
    ECC Errors
        Volatile
            SRAM Correctable              : 0
            SRAM Uncorrectable Parity     : 1
            SRAM Uncorrectable SEC-DED    : 0
            DRAM Correctable              : 9
            DRAM Uncorrectable            : 2
        Aggregate
            DRAM Uncorrectable            : 100
    Remapped Rows
        Correctable Error                 : 0
        Pending                           : Yes
        Remapping Failure Occurred        : No
    Temperature
        GPU Current Temp                  : 61 C
        GPU T.Limit Temp                  : 20 C
    Fabric
        State                             : Completed
        Status                            : Success
    Processes
        GPU instance ID                   : N/A
        Process ID                        : 11
            Type                          : G
            Name                          : /usr/lib/xorg/Xorg
            Used GPU Memory               : 4 MiB
        Process ID                        : 12
            Type                          : C
            Name                          : /opt/bin/python3 /srv/train.py
            Used GPU Memory               : 300 MiB

GPU 00000000:3B:00.0
    Product Name                          : Unknown Error
    Fabric
        State                             : In Progress
        Status                            : N/A
    Processes                             : None
";

#[test]
fn the_long_form() {
    let smi = told(LONG);
    assert_eq!(versions(&smi), ["-", "610.43.02", "13.3"]);
    let first = Device {
        name: "NVIDIA H100 80GB HBM3".into(),
        address: Some("00000000:19:00.0".into()),
        memory_total: Some(81559 * MIB),
        memory_used: Some(17 * MIB),
        compute_mode: Some("Exclusive_Process".into()),
        mig: Some(false),
        persistence: Some(true),
        ecc: Some(true),
        ecc_uncorrected: Some(3),
        remap_pending: Some(true),
        remap_failed: Some(false),
        processes: Some(vec![Process {
            pid: 12,
            name: Some("python3".into()),
            memory: Some(300 * MIB),
        }]),
        temperature: Some(61),
        throttled: vec!["HW_SLOWDOWN".into(), "HW_THERMAL_SLOWDOWN".into()],
        fabric: Some("completed".into()),
        pcie: Some([1, 8, 5, 16]),
        ..Device::default()
    };
    let second = Device {
        address: Some("00000000:3B:00.0".into()),
        processes: Some(Vec::new()),
        fabric: Some("in-progress".into()),
        ..Device::default()
    };
    assert_eq!(smi.devices, [first.clone(), second]);
    // Again, and then something else.
    let more = format!("{LONG}{LONG}done\n    Compute Mode                          : Default\n");
    assert_eq!(told(&more), smi);
    // Beside a table of the same cards.
    let table = TWO_CARDS.replace("570.86.15", "610.43.02");
    let both = told(&format!("{table}{LONG}"));
    assert_eq!(both.devices.len(), 2);
    assert_eq!(both.devices[0], first);
    let broken = told(&LONG.replace(": Success", ": Failure"));
    assert_eq!(broken.devices[0].fabric.as_deref(), Some("failed"));
    let old = LONG.replace(
        "            DRAM Uncorrectable            : 2\n",
        "            Double Bit\n                Device Memory : 4\n                Total : 5\n",
    );
    assert_eq!(told(&old).devices[0].ecc_uncorrected, Some(6));
}

#[test]
fn queries() {
    let smi = told(
        "\
index, name, driver_version, memory.total [MiB], memory.used [MiB], compute_cap, mig.mode.current
0, NVIDIA A100-SXM4-40GB, 525.85.12, 40960 MiB, 3 MiB, 8.0, [N/A]
1, NVIDIA A100-SXM4-40GB, 525.85.12, [GPU is lost], [N/A], 8.0, Enabled
that was all
",
    );
    assert_eq!(versions(&smi), ["-", "525.85.12", "-"]);
    let [first, second] = &smi.devices[..] else { panic!("{smi:?}") };
    assert_eq!((first.memory_total, first.memory_used), (Some(40960 * MIB), Some(3 * MIB)));
    assert_eq!((shown(first.capability), first.mig), ("8.0".into(), None));
    assert_eq!((second.memory_total, second.mig), (None, Some(true)));
    assert_eq!(second.failure.as_ref().and_then(|f| f.code), Some(15));

    // Without a head the command names the columns.
    let smi = told(
        "$ nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits\nTesla T4, 15360\nTesla T4, 15360\n$ echo Tesla T5, 1\n",
    );
    assert_eq!(smi.devices.len(), 2);
    assert_eq!(
        (smi.devices[1].name.as_str(), smi.devices[1].memory_total),
        ("Tesla T4", Some(15360 * MIB))
    );
    let smi = told(
        "DRIVER=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader)\n570.124.06\n570.124.06\n",
    );
    assert_eq!((versions(&smi)[1].as_str(), smi.devices.len()), ("570.124.06", 0));
    assert_eq!(shown(told("compute_cap\n12.0\n").devices[0].capability), "12.0");
    // A driver that is too old for the question, and programs that only name it.
    for nothing in [
        "$ nvidia-smi --query-gpu=compute_cap --format=csv\nField \"compute_cap\" is not a valid field to query.\n",
        "nvidia-smi --query-gpu=name --format=csv,noheader\nNVIDIA driver was not asked\n",
        "name,driver_version\nepson,printer\n",
    ] {
        assert_eq!(read(nothing), None, "{nothing}");
    }
}

#[test]
fn failures() {
    for (text, code, words) in [
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.",
            Some(9),
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
        ),
        ("No devices were found\n", Some(6), "No devices were found"),
        (
            "+ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.120\n",
            Some(18),
            "Driver/library version mismatch; NVML library version: 550.120",
        ),
        ("Failed to initialize NVML: Unknown Error", Some(999), "Unknown Error"),
        (
            "\u{1b}[31mFailed to initialize NVML: Insufficient Permissions\u{1b}[0m",
            Some(4),
            "Insufficient Permissions",
        ),
        (
            "Failed to initialize NVML: GPU access blocked by the operating system",
            Some(17),
            "GPU access blocked by the operating system",
        ),
        ("Failed to initialize NVML: N/A", None, "N/A"),
        (
            "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error",
            Some(999),
            "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error",
        ),
        (
            "Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU",
            Some(15),
            "Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU",
        ),
        ("Insufficient Permissions\n", Some(4), "Insufficient Permissions"),
        ("Unknown Error", Some(999), "Unknown Error"),
        (
            "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display Driver is properly installed and present in your system.",
            Some(12),
            "it could not find libnvidia-ml.so",
        ),
    ] {
        assert_eq!(failing(text), (code, words.to_owned()), "{text}");
    }
    for text in [
        "bash: nvidia-smi: command not found",
        "/bin/sh: 1: nvidia-smi: not found",
        "zsh: command not found: nvidia-smi",
        "Command 'nvidia-smi' not found, but can be installed with:",
        "exec: \"nvidia-smi\": executable file not found in $PATH: unknown",
        "FileNotFoundError: [Errno 2] No such file or directory: 'nvidia-smi'",
        "'nvidia-smi' is not recognized as an internal or external command,",
    ] {
        assert_eq!(read(text), Some(Answer::Absent(text.into())));
    }
}

#[test]
fn nothing_of_it() {
    for text in [
        "",
        "Epoch 1 | loss 0.1 | 0 x Off | N/A |",
        "run nvidia-smi to see which driver you have; nvidia-smi -L lists the cards",
        "RuntimeError: Unknown Error in layer 3",
        "the process had Insufficient Permissions",
        "| 0 | NVIDIA H100 | 80 GB | 3.35 TB/s |",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn hostile_lines() {
    let start = std::time::Instant::now();
    let bars = format!("{TWO_CARDS}{}\n{}", "|".repeat(2_000_000), "  0 x Off |".repeat(200_000));
    assert_eq!(told(&bars), told(TWO_CARDS));
    let _ = read(&format!("NVIDIA-SMI{}", " ".repeat(2_000_000)));
    // Seconds only in a debug build on a busy machine.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

/// What people paste is cut anywhere: it is read without a word of complaint, whatever is left.
#[test]
fn any_part_of_it() {
    for text in [TWO_CARDS, MIG, LIST, LONG] {
        for at in (0..text.len()).step_by(7) {
            let _ = (read(&text[at..]), read(&text[..at]));
        }
    }
}
