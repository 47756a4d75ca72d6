//! microdiff-design
