//! A model bundle with some of its bytes changed: a model that gives its prior, or an error.
#![no_main]

mod changed;

use changed::{Changes, changed};
use libfuzzer_sys::fuzz_target;
use microdiff_diffusion::Model;
use microdiff_diffusion::bundle::BundleFiles;
use std::sync::LazyLock;

static GOOD: LazyLock<BundleFiles> = LazyLock::new(|| BundleFiles {
    manifest: include_bytes!("../../models/lpbf-descriptors/manifest.json").to_vec(),
    weights: include_bytes!("../../models/lpbf-descriptors/weights.safetensors").to_vec(),
});

fuzz_target!(|changes: Changes| {
    match Model::from_files(&changed(&GOOD, &changes)) {
        Ok(model) => {
            for prior in &model.info().alloys {
                assert!(!model.prior(prior.process, prior.alloy).is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
    }
});
