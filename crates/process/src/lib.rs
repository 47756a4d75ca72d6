//! microdiff-process
