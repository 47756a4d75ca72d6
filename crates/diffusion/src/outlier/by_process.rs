//! One detector for each process: a scan ordinary for one process, as of deposited tracks a
//! millimetre apart, is foreign for another. The networks beside them serve all processes.

#[cfg(any(test, feature = "train"))]
use super::Seen;
use super::classifier::{Classifier, inputs};
use super::{Detector, Distance, Normal, OutOfDistribution};
use crate::DiffusionError;
use microdiff_domain::{Appearance, Process};

/// The detectors of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Detectors {
    /// Each with its process; with none, it is that of all processes.
    list: Vec<(Option<Process>, Detector)>,
    /// Weights of the networks that were shown foreign scans, or nothing.
    pub(crate) classifier: Vec<f32>,
}

impl Detectors {
    /// Refuses a damaged detector or classifier, and a process of the model that has no detector.
    pub(crate) fn new(
        list: Vec<(Option<Process>, Detector)>,
        classifier: Vec<f32>,
        mut processes: impl Iterator<Item = Process>,
    ) -> Result<Self, DiffusionError> {
        for (_, detector) in &list {
            detector.check()?;
            let asked = !detector.held[Distance::Shown as usize].is_empty();
            let weights = Classifier::new(detector.columns()).weights();
            let whole = classifier.len() == weights && classifier.iter().all(|w| w.is_finite());
            if asked && !whole {
                return Err(DiffusionError::bundle("the out-of-distribution networks are damaged"));
            }
        }
        let detectors = Self { list, classifier };
        if let Some(process) = processes.find(|process| detectors.of(*process).is_none()) {
            let text = format!("no out-of-distribution reference for {process}");
            return Err(DiffusionError::bundle(text));
        }
        Ok(detectors)
    }

    /// Judges one scan; nothing where the process has no detector.
    pub(crate) fn judge(
        &self,
        process: Process,
        normal: &Normal,
        appearance: Option<&Appearance>,
    ) -> Option<OutOfDistribution> {
        let (of, detector) = self.of(process)?;
        let scan = detector.scan(normal, appearance);
        Some(detector.judge(&scan, self.clearness(*of, &scan)))
    }

    /// The detector for a process, with what it is of.
    fn of(&self, process: Process) -> Option<&(Option<Process>, Detector)> {
        self.list.iter().find(|(of, _)| of.is_none_or(|of| of == process))
    }

    /// How clearly a scan is one of those shown.
    fn clearness(&self, process: Option<Process>, scan: &[f64]) -> f64 {
        Classifier::new(scan.len()).clearness(&self.classifier, &inputs(process, scan))
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
        let mut detectors = Self { list, classifier: Vec::new() };
        let sides = [train, shown].map(|of| detectors.inputs(of));
        if let Some(row) = sides[1].first() {
            let columns = row.len() - Process::ALL.len();
            detectors.classifier = Classifier::new(columns).fit([&sides[0], &sides[1]]);
            detectors.hold_shown(held);
        }
        detectors
    }

    /// Scans of every detector as the networks take them.
    #[cfg(any(test, feature = "train"))]
    fn inputs<'a>(&self, of: &dyn Fn(Option<Process>) -> Vec<Seen<'a>>) -> Vec<Vec<f32>> {
        let rows = |(process, detector): &(Option<Process>, Detector)| {
            let row = |seen: &Seen<'a>| inputs(*process, &detector.scan(&seen.0, seen.1));
            of(*process).iter().map(row).collect::<Vec<_>>()
        };
        self.list.iter().flat_map(rows).collect()
    }

    /// Keeps what the networks say of held-out scans.
    #[cfg(any(test, feature = "train"))]
    fn hold_shown<'a>(&mut self, held: &dyn Fn(Option<Process>) -> Vec<Seen<'a>>) {
        let shown = |(process, detector): &(Option<Process>, Detector)| {
            detector.held_out(&held(*process), |scan| self.clearness(*process, scan))
        };
        let all: Vec<Vec<f32>> = self.list.iter().map(shown).collect();
        for ((_, detector), shown) in self.list.iter_mut().zip(all) {
            detector.held[Distance::Shown as usize] = shown;
        }
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
        let processes = Process::ALL.into_iter().take(1);
        let detectors = Detectors::new(fitted(100).list, Vec::new(), processes).unwrap();
        let flagged = |process: Process, place: f64| {
            detectors.judge(process, &[place + 0.5; DESCRIPTOR_COUNT], None).unwrap().flagged
        };
        assert!(flagged(Process::Ded, 0.0) && flagged(Process::Lpbf, 20.0));
        assert!(detectors.of(Process::Ebm).is_none());
        assert_eq!(detectors.descriptors().len(), 2 * 200 * DESCRIPTOR_COUNT);
    }

    #[test]
    fn damaged_networks_are_refused_where_they_are_asked() {
        let asked = |classifier: Vec<f32>| {
            let mut list = fitted(100).list;
            list[1].1.held[Distance::Shown as usize] = vec![0.5; 200];
            Detectors::new(list, classifier, std::iter::empty())
        };
        let weights = Classifier::new(DESCRIPTOR_COUNT).weights();
        assert!(asked(vec![0.1; weights]).is_ok());
        let mut infinite = vec![0.1; weights];
        infinite[7] = f32::INFINITY;
        for bad in [Vec::new(), vec![0.1; weights - 1], infinite] {
            let text = asked(bad).unwrap_err().to_string();
            assert!(text.contains("networks are damaged"), "{text}");
        }
    }

    #[test]
    fn too_few_rows_share_one_detector_and_a_missing_process_is_refused() {
        let shared = fitted(1000);
        assert_eq!(shared.list.len(), 1);
        assert!(shared.of(Process::Ebm).is_some());
        let text = Detectors::new(fitted(100).list, Vec::new(), Process::ALL.into_iter());
        let text = text.unwrap_err().to_string();
        assert!(text.contains("no out-of-distribution reference for ebm"), "{text}");
    }
}
