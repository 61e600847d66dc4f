//! tmp
#[test]
fn look() {
    let Ok(dir) = std::env::var("PASTE_DIR") else { return };
    let matrix = gpuseal::matrix::Matrix::embedded();
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        let lines: Vec<(usize, &str)> = text.lines().enumerate().map(|(i, l)| (i + 1, l)).collect();
        let said = gpuseal::diagnose::facts(&lines, &matrix);
        println!(
            "=== {} others={:?} wanted={:?} mentioned={} available={:?} asked={:?} idx={:?} offered={}",
            file.display(),
            said.others,
            said.wanted,
            said.mentioned,
            said.available,
            said.asked,
            said.indexes,
            said.offered.len()
        );
        for s in &said.seen {
            println!("   {}: {} @{}", s.what, s.value, s.line);
        }
        let labels = std::fs::read_to_string(file.with_file_name("labels.tsv")).unwrap();
        let id = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let label = labels.lines().find(|l| l.starts_with(&id)).unwrap_or_default();
        println!("   LABEL {label}");
        for code in label.split('\t').nth(1).unwrap_or_default().split(',') {
            let Ok(code) = code.parse() else { continue };
            let advice = gpuseal::diagnose::for_cause(code, &said, &Default::default(), &matrix);
            if advice.code.is_some() || !advice.fix.is_empty() {
                println!("   ADVICE {code}: {:?} {:#?}", advice.code, advice.fix);
            }
        }
        for f in gpuseal::diagnose::hidden(&said, &matrix) {
            println!("   HIDDEN {}: {} {:#?}", f.code, f.message, f.help);
        }
        println!(
            "   platform={:?} pythons={:?}",
            said.facts.system.platform,
            said.facts
                .pythons
                .iter()
                .map(|p| (
                    p.version.clone(),
                    p.packages.get("torch").cloned(),
                    p.torch.as_ref().map(|t| t.cuda)
                ))
                .collect::<Vec<_>>()
        );
    }
}
