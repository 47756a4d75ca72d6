//! `microdiff serve`: the HTTP service.

use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::output;
use microdiff_server::{Config, Overrides, Ready, ServerError};

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        if error.is_usage() {
            Failure::usage(error)
        } else if error.is_data() {
            Failure::data(error)
        } else {
            Failure::internal(error)
        }
    }
}

pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let overrides = Overrides {
        listen: args.listen,
        metrics_listen: args.metrics_listen,
        gpu_listen: args.gpu_listen,
        admin_listen: args.admin_listen,
        data_dir: args.data_dir.clone(),
        model_dir: args.model.clone(),
        log_level: args.log_level.clone(),
        log_schema: args.log_schema,
        log_format: args.log_format,
    };
    let config = Config::load(args.config.as_deref(), overrides)?;
    if args.check_config {
        return output::print("configuration is valid\n");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(microdiff_server::run(config, announce));
    // A design that outlived the drain is back in the queue; its thread is not waited for.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// Whoever started the service reads the addresses from stdout; a closed stdout is their choice.
fn announce(ready: &Ready) {
    let _ = output::print(&ready.line());
}
