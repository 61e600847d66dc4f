//! A first program for an image that runs on a GPU: it shows what is there, and multiplies.

/// One line of Python: prints torch's version and CUDA, then name and capability of every device in
/// sight, and ends with 1 unless each of them multiplies two matrices exactly.
///
/// Whole numbers, so that there is one right answer: the inputs fit ten bits, which TF32 keeps, and the
/// sums stay below 2^24, which float32 holds. torch itself says why no device can be used.
///
/// Holds no quote, backslash, `$`, backtick or brace: it stands in both quotings of a shell, in YAML and
/// in files of Apptainer, which has braces of its own.
pub const SMOKE: &str = "import sys, torch; c = torch.cuda; print(torch.__version__, torch.version.cuda, flush=True); c.init(); n = range(c.device_count()); a = torch.arange(262144).reshape(512, 512) % 13; b = (a * 7 % 11 - 5).T; exact = [torch.equal((a.float().to(i) @ b.float().to(i)).cpu(), (a @ b).float()) for i in n]; [print(i, c.get_device_name(i), *c.get_device_capability(i), exact[i]) for i in n]; sys.exit(not exact or not all(exact))";

#[cfg(test)]
mod tests {
    use super::SMOKE;

    #[test]
    fn it_stands_in_every_quoting() {
        let free = |c: char| c.is_ascii() && !c.is_control() && !"'\"\\$`!{}".contains(c);
        assert!(SMOKE.chars().all(free));
        // YAML would take either for a comment or a key.
        assert!(!SMOKE.contains(" #") && !SMOKE.contains(": "));
    }
}
