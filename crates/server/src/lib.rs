//! microdiff-server
