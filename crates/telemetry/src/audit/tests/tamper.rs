//! Anything done to the files of a chain is found.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Tamper {
    Flip { file: usize, at: usize, bit: u8 },
    Cut { file: usize, at: usize },
    Append { file: usize, text: String },
    RemoveLine { file: usize, line: usize },
    RepeatLine { file: usize, line: usize, at: usize },
    MoveLine { file: usize, line: usize, at: usize },
    RemoveFile { file: usize },
    SwapFiles { file: usize },
}

fn tamper() -> impl Strategy<Value = Tamper> {
    let (file, at) = (0..4_usize, any::<usize>());
    prop_oneof![
        4 => (file.clone(), at, 0..8_u8)
            .prop_map(|(file, at, bit)| Tamper::Flip { file, at, bit }),
        2 => (file.clone(), at).prop_map(|(file, at)| Tamper::Cut { file, at }),
        1 => (file.clone(), "\\PC{1,40}\n?")
            .prop_map(|(file, text)| Tamper::Append { file, text }),
        2 => (file.clone(), at)
            .prop_map(|(file, line)| Tamper::RemoveLine { file, line }),
        1 => (file.clone(), at, at)
            .prop_map(|(file, line, at)| Tamper::RepeatLine { file, line, at }),
        2 => (file.clone(), at, at)
            .prop_map(|(file, line, at)| Tamper::MoveLine { file, line, at }),
        1 => file.clone().prop_map(|file| Tamper::RemoveFile { file }),
        1 => file.prop_map(|file| Tamper::SwapFiles { file }),
    ]
}

fn apply(dir: &Path, tamper: &Tamper) {
    let files = [segment(1), segment(2), segment(3), "head.json".to_owned()];
    let path = |file: usize| dir.join(&files[file]);
    let lines = |file: usize, change: &dyn Fn(&mut Vec<String>)| {
        let text = fs::read_to_string(path(file)).unwrap();
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path(file), lines.concat()).unwrap();
    };
    let bytes = |file: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path(file)).unwrap();
        change(&mut bytes);
        fs::write(path(file), bytes).unwrap();
    };
    match tamper {
        Tamper::Flip { file, at, bit } => bytes(*file, &|bytes| {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }),
        Tamper::Cut { file, at } => bytes(*file, &|bytes| bytes.truncate(at % bytes.len())),
        Tamper::Append { file, text } => {
            bytes(*file, &|bytes| bytes.extend_from_slice(text.as_bytes()));
        }
        Tamper::RemoveLine { file, line } => lines(*file, &|lines| {
            lines.remove(line % lines.len());
        }),
        Tamper::RepeatLine { file, line, at } => lines(*file, &|lines| {
            let line = lines[line % lines.len()].clone();
            lines.insert(at % (lines.len() + 1), line);
        }),
        Tamper::MoveLine { file, line, at } => lines(*file, &|lines| {
            let line = lines.remove(line % lines.len());
            lines.insert(at % (lines.len() + 1), line);
        }),
        Tamper::RemoveFile { file } => fs::remove_file(path(*file)).unwrap(),
        Tamper::SwapFiles { file } => {
            let (one, other) = (path(*file), path((file + 1) % 4));
            let held = fs::read(&one).unwrap();
            fs::copy(&other, &one).unwrap();
            fs::write(other, held).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_log_that_was_touched_is_never_whole(tamper in tamper()) {
        let folder = tempfile::tempdir().unwrap();
        three_days(folder.path());
        let before = content(folder.path());
        apply(folder.path(), &tamper);
        // Putting a line back where it was is no tampering.
        prop_assume!(content(folder.path()) != before);
        prop_assert!(!findings(folder.path()).is_empty());
    }
}
