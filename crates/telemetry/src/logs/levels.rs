//! Which logger speaks from which level on.

use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use crate::TelemetryError;

/// A default level and levels for named loggers, written `info,myservice.storage=debug`.
///
/// A logger's level holds for its children: `myservice` covers `myservice.storage` unless that has
/// its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevels {
    default: LevelFilter,
    loggers: Vec<(String, LevelFilter)>,
}

impl Default for LogLevels {
    /// `info` for all.
    fn default() -> Self {
        Self { default: LevelFilter::INFO, loggers: Vec::new() }
    }
}

/// More than this is a mistake, not a configuration.
const MAX_LOGGERS: usize = 64;

impl LogLevels {
    /// The level from which on `logger` is written.
    #[must_use]
    pub fn for_logger(&self, logger: &str) -> LevelFilter {
        self.loggers
            .iter()
            .filter(|(name, _)| covers(name, logger))
            .max_by_key(|(name, _)| name.len())
            .map_or(self.default, |(_, level)| *level)
    }

    /// Gives one logger, and its children, a level of its own.
    ///
    /// # Errors
    /// [`TelemetryError::LogLevels`] when the name or the level is none, or there are too many.
    pub fn set(&mut self, logger: &str, level: &str) -> Result<(), TelemetryError> {
        let refuse = |reason: String| TelemetryError::LogLevels { reason };
        let shown = level.escape_debug();
        let level =
            parse_level(level).ok_or_else(|| refuse(format!("`{shown}` names no level")))?;
        if logger.is_empty() || logger.contains([',', '=']) || logger.contains(char::is_whitespace)
        {
            return Err(refuse(format!("`{}` names no logger", logger.escape_debug())));
        }
        self.loggers.retain(|(name, _)| name != logger);
        if self.loggers.len() == MAX_LOGGERS {
            return Err(refuse(format!("more than {MAX_LOGGERS} loggers")));
        }
        self.loggers.push((logger.to_owned(), level));
        Ok(())
    }

    /// Takes a logger's own level away; that of its parent, or the default, holds again. `false`:
    /// it had none.
    pub fn unset(&mut self, logger: &str) -> bool {
        let before = self.loggers.len();
        self.loggers.retain(|(name, _)| name != logger);
        self.loggers.len() < before
    }

    /// The most talkative level of all.
    #[must_use]
    pub fn most_verbose(&self) -> LevelFilter {
        self.loggers.iter().map(|(_, level)| *level).fold(self.default, LevelFilter::max)
    }
}

fn covers(name: &str, logger: &str) -> bool {
    logger.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl FromStr for LogLevels {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        let refuse = |reason: String| TelemetryError::LogLevels { reason };
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let shown = part.escape_debug();
            let (logger, level) = match part.split_once('=') {
                Some((logger, level)) => (Some(logger.trim()), level.trim()),
                None => (None, part),
            };
            match logger {
                Some(logger) => levels.set(logger, level)?,
                None => {
                    levels.default = parse_level(level)
                        .ok_or_else(|| refuse(format!("`{shown}` names no level")))?;
                }
            }
        }
        Ok(levels)
    }
}

fn parse_level(text: &str) -> Option<LevelFilter> {
    Some(match text.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" | "critical" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

impl fmt::Display for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.loggers.iter().try_for_each(|(name, level)| write!(f, ",{name}={level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_named_logger_decides() {
        let levels: LogLevels = "warn, a=info ,a.b=trace".parse().unwrap();
        assert_eq!(levels.for_logger("x"), LevelFilter::WARN);
        assert_eq!(levels.for_logger("a"), LevelFilter::INFO);
        assert_eq!(levels.for_logger("a.c"), LevelFilter::INFO);
        assert_eq!(levels.for_logger("a.b.c"), LevelFilter::TRACE);
        assert_eq!(levels.for_logger("ab"), LevelFilter::WARN);
        assert_eq!(levels.most_verbose(), LevelFilter::TRACE);
        assert_eq!(levels.to_string().parse::<LogLevels>().unwrap(), levels);
    }

    #[test]
    fn one_logger_is_set_and_unset_without_touching_the_others() {
        let mut levels: LogLevels = "warn,a=info".parse().unwrap();
        levels.set("a.b", "TRACE").unwrap();
        assert_eq!(levels.to_string(), "warn,a=info,a.b=trace");
        assert!(levels.unset("a.b") && !levels.unset("a.b"));
        assert_eq!(levels.for_logger("a.b"), LevelFilter::INFO);
        for (logger, level) in [("", "info"), ("a,b", "info"), ("a b", "info"), ("a", "loud")] {
            assert!(levels.set(logger, level).is_err(), "{logger}={level}");
        }
        for n in levels.loggers.len()..MAX_LOGGERS {
            levels.set(&format!("l{n}"), "info").unwrap();
        }
        assert!(levels.set("one.more", "info").is_err());
        levels.set("a", "debug").unwrap();
    }

    #[test]
    fn what_names_no_level_or_logger_is_refused() {
        for bad in ["loud", "a=", "=info", "a=b=info"] {
            assert!(bad.parse::<LogLevels>().is_err(), "{bad}");
        }
        assert_eq!("".parse::<LogLevels>().unwrap(), LogLevels::default());
    }
}
