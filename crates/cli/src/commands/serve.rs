//! `microdiff serve`: the HTTP service.

use crate::args::ServeArgs;
use crate::failure::Failure;
use microdiff_server::Config;

pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = config(args)?;
    if args.check_config {
        return crate::output::print("configuration is valid\n");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(microdiff_server::run(config)).map_err(Failure::internal)
}

fn config(args: &ServeArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(path) => Config::read(path).map_err(Failure::usage)?,
        None => Config::default(),
    };
    if let Some(address) = args.listen {
        config.listen = address;
    }
    if let Some(address) = args.metrics_listen {
        config.metrics_listen = address;
    }
    if let Some(address) = args.gpu_listen {
        config.gpu_listen = address;
    }
    if let Some(address) = args.admin_listen {
        config.admin_listen = address;
    }
    if let Some(directory) = &args.data_dir {
        config.data_dir.clone_from(directory);
    }
    config.check().map_err(Failure::usage)?;
    Ok(config)
}
