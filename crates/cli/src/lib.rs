//! microdiff-cli
