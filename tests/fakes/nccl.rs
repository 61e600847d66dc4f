//! NCCL: sums over the devices of a process, on the CPU.
//!
//! `nccl.async=6` is what went wrong on the way; `nccl.last=TEXT` its last words, with `_` for a blank.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fault;

const INVALID_ARGUMENT: c_int = 4;
const INVALID_USAGE: c_int = 5;

struct Call {
    from: u64,
    to: u64,
    count: usize,
    kind: c_int,
}

/// Calls of the group that is open.
static GROUP: Mutex<Option<Vec<Call>>> = Mutex::new(None);
/// Ends of the connection.
static ENDS: AtomicUsize = AtomicUsize::new(0);
static SUMS: AtomicUsize = AtomicUsize::new(0);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetVersion(version: *mut c_int) -> c_int {
    fault::enter!("ncclGetVersion");
    *version = 22703;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommInitAll(
    comms: *mut *mut c_void,
    number: c_int,
    devices: *const c_int,
) -> c_int {
    fault::enter!("ncclCommInitAll");
    let number = usize::try_from(number).expect("a number");
    let devices = std::slice::from_raw_parts(devices, number);
    if (1..number).any(|at| devices[..at].contains(&devices[at])) {
        return INVALID_USAGE;
    }
    for end in 0..number {
        *comms.add(end) = ptr::without_provenance_mut(end + 1);
    }
    ENDS.store(number, Ordering::Relaxed);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGroupStart() -> c_int {
    fault::enter!("ncclGroupStart");
    *GROUP.lock().expect("the group") = Some(Vec::new());
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllReduce(
    from: u64,
    to: u64,
    count: usize,
    kind: c_int,
    op: c_int,
    comm: *mut c_void,
    _stream: *mut c_void,
) -> c_int {
    fault::enter!("ncclAllReduce");
    let mut group = GROUP.lock().expect("the group");
    let Some(calls) = group.as_mut() else { return INVALID_USAGE };
    // One thread that makes them outside of a group, or in another order, would wait for ever.
    if op != 0 || !matches!(kind, 2 | 9) || comm.addr() != calls.len() + 1 {
        return INVALID_ARGUMENT;
    }
    calls.push(Call { from, to, count, kind });
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGroupEnd() -> c_int {
    fault::enter!("ncclGroupEnd");
    let Some(calls) = GROUP.lock().expect("the group").take() else { return INVALID_USAGE };
    if calls.len() != ENDS.load(Ordering::Relaxed) {
        return INVALID_USAGE;
    }
    let size = if calls[0].kind == 2 { 4 } else { 2 };
    let given: Vec<&[u8]> = calls
        .iter()
        .map(|call| {
            let at = ptr::with_exposed_provenance(usize::try_from(call.from).expect("a pointer"));
            std::slice::from_raw_parts(at, call.count * size)
        })
        .collect();
    let mut sum = Vec::with_capacity(given[0].len());
    for at in (0..given[0].len()).step_by(size) {
        let parts = given.iter().map(|part| &part[at..at + size]);
        if size == 4 {
            let parts = parts.map(|part| i32::from_le_bytes(part.try_into().expect("four")));
            sum.extend(parts.fold(0_i32, i32::wrapping_add).to_le_bytes());
        } else {
            let parts = parts.map(|part| f32::from_le_bytes([0, 0, part[0], part[1]]));
            // All of them are small integers: nothing is rounded.
            sum.extend(&parts.fold(0.0_f32, |a, b| a + b).to_le_bytes()[2..]);
        }
    }
    let turn = SUMS.fetch_add(1, Ordering::Relaxed);
    let ours = fault::text("result-of").is_none_or(|of| of == "nccl");
    let what = fault::text("result").filter(|_| ours).unwrap_or_default();
    for (rank, call) in calls.iter().enumerate() {
        // The last of the devices is at fault.
        let fault = if rank + 1 == calls.len() { what.as_str() } else { "" };
        let at = 100 * size;
        let mut bytes = sum.clone();
        match fault {
            "nothing" => continue,
            "zeros" => bytes.fill(0),
            "lost-tile" => bytes[at..at + 16 * size].fill(0),
            "flip-high" => bytes[at + size - 1] ^= 0x40,
            "flip-low" => bytes[at] ^= 1,
            "second" if turn % 2 == 1 => bytes[at] ^= 1,
            _ => (),
        }
        let to = ptr::with_exposed_provenance_mut(usize::try_from(call.to).expect("a pointer"));
        ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommGetAsyncError(_comm: *mut c_void, status: *mut c_int) -> c_int {
    fault::enter!("ncclCommGetAsyncError");
    *status = c_int::try_from(fault::number("nccl.async", 0)).expect("a status");
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetErrorString(status: c_int) -> *const c_char {
    let text = match status {
        0 => c"no error",
        1 => c"unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
        2 => c"unhandled system error (run with NCCL_DEBUG=INFO for details)",
        INVALID_ARGUMENT => c"invalid argument (run with NCCL_DEBUG=WARN for details)",
        INVALID_USAGE => c"invalid usage (run with NCCL_DEBUG=WARN for details)",
        6 => c"remote process exited or there was a network error",
        _ => c"unknown result code",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetLastError(_comm: *mut c_void) -> *const c_char {
    let text = fault::text("nccl.last").unwrap_or_default().replace('_', " ");
    // It lives as long as the library, which is as long as the process.
    CString::new(text).expect("no zero").into_raw()
}
