//! One detector for each process: a scan ordinary for one process, as of deposited tracks a
//! millimetre apart, is foreign for another.

use super::Detector;
#[cfg(any(test, feature = "train"))]
use super::Seen;
use crate::DiffusionError;
use microdiff_domain::Process;

/// The detectors of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Detectors {
    /// Each with its process; with none, it is that of all processes.
    list: Vec<(Option<Process>, Detector)>,
}

impl Detectors {
    /// Refuses a damaged detector, and a process of the model that has none.
    pub(crate) fn new(
        list: Vec<(Option<Process>, Detector)>,
        mut processes: impl Iterator<Item = Process>,
    ) -> Result<Self, DiffusionError> {
        for (_, detector) in &list {
            detector.check()?;
        }
        let detectors = Self { list };
        if let Some(process) = processes.find(|process| detectors.of(*process).is_none()) {
            let text = format!("no out-of-distribution reference for {process}");
            return Err(DiffusionError::bundle(text));
        }
        Ok(detectors)
    }

    /// The detector for a process.
    pub(crate) fn of(&self, process: Process) -> Option<&Detector> {
        let fits = |of: &Option<Process>| of.is_none_or(|of| of == process);
        self.list.iter().find(|(of, _)| fits(of)).map(|(_, detector)| detector)
    }

    /// Each detector with the beginning of its tensors' names.
    #[cfg(any(test, feature = "train"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, &Detector)> {
        self.list.iter().map(|(process, detector)| (prefix(*process), detector))
    }

    /// Descriptors of the reference simulations of every process, (any, D).
    pub(crate) fn descriptors(&self) -> Vec<f32> {
        self.list.iter().flat_map(|(_, detector)| detector.descriptors()).collect()
    }

    /// One for each process of the training rows, or one for all of them when a process has fewer
    /// than `fewest` held-out rows.
    #[cfg(any(test, feature = "train"))]
    pub(crate) fn fit<'a>(
        processes: &[Process],
        fewest: usize,
        [train, held, shown]: [&dyn Fn(Option<Process>) -> Vec<Seen<'a>>; 3],
    ) -> Self {
        let one = |process: Option<Process>| {
            (process, Detector::fit(&train(process), &held(process), &shown(process)))
        };
        let enough = |process: &Process| held(Some(*process)).len() >= fewest;
        let list = if processes.iter().all(enough) {
            processes.iter().map(|process| one(Some(*process))).collect()
        } else {
            vec![one(None)]
        };
        Self { list }
    }
}

/// How the tensors of a detector begin.
pub(crate) fn prefix(process: Option<Process>) -> String {
    process.map_or_else(|| "ood.".to_owned(), |process| format!("ood.{process}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_domain::DESCRIPTOR_COUNT;

    /// Scans spread over a unit box around a place that depends on the process.
    fn seen(process: Option<Process>, seed: usize) -> Vec<Seen<'static>> {
        let place = process.map_or(0.0, |process| 10.0 * process.index() as f64);
        let row = |i: usize| {
            let value = |d: usize| place + ((i * 37 + d * 101 + seed) as f64 * 0.618).fract();
            (std::array::from_fn(value), None)
        };
        (0..200).map(row).collect()
    }

    fn fitted(fewest: usize) -> Detectors {
        let rows = |seed: usize| move |process| seen(process, seed);
        let processes = [Process::Lpbf, Process::Ded];
        Detectors::fit(&processes, fewest, [&rows(1), &rows(5000), &|_| Vec::new()])
    }

    #[test]
    fn what_is_ordinary_for_one_process_is_foreign_for_another() {
        let detectors = Detectors::new(fitted(100).list, Process::ALL.into_iter().take(1)).unwrap();
        let flagged = |process: Process, place: f64| {
            detectors.of(process).unwrap().judge(&[place + 0.5; DESCRIPTOR_COUNT], None).flagged
        };
        assert!(flagged(Process::Ded, 0.0) && flagged(Process::Lpbf, 20.0));
        assert!(detectors.of(Process::Ebm).is_none());
        assert_eq!(detectors.descriptors().len(), 2 * 200 * DESCRIPTOR_COUNT);
    }

    #[test]
    fn too_few_rows_share_one_detector_and_a_missing_process_is_refused() {
        let shared = fitted(1000);
        assert_eq!(shared.list.len(), 1);
        assert!(shared.of(Process::Ebm).is_some());
        let text = Detectors::new(fitted(100).list, Process::ALL.into_iter());
        let text = text.unwrap_err().to_string();
        assert!(text.contains("no out-of-distribution reference for ebm"), "{text}");
    }
}
