use proptest::prelude::*;

use super::*;

fn scrubber() -> Scrubber {
    Scrubber::new(RedactionOptions {
        shown_dirs: vec![PathBuf::from("/srv/data")],
        public_paths: vec!["/v1/".to_owned()],
        secret_keys: vec!["Licence-Key".to_owned()],
    })
}

#[test]
fn a_sensitive_value_has_no_text() {
    let secret = Sensitive::new("hunter2");
    assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
    assert_eq!(*secret.expose(), "hunter2");
}

#[test]
fn secrets_in_free_text_are_replaced_and_the_rest_stays() {
    let cases = [
        ("Authorization: Bearer abc.def", "Authorization: [redacted] [redacted]"),
        ("sent Bearer abc, failed", "sent Bearer [redacted], failed"),
        ("password=hunter2 user=bob", "password=[redacted] user=bob"),
        ("GET /v1/designs?api_key=k1&x=2", "GET /v1/designs?api_key=[redacted]&x=2"),
        ("mail ada@example.org now", "mail [email] now"),
        ("postgres://u:p@db/x refused", "postgres://[redacted]@db/x refused"),
        ("open \"/home/ada b/scan.tif\": denied", "open \"[path]\": denied"),
        ("open \"/a.:// b=/c d\": denied", "open \"[path]\": denied"),
        ("=\"/.:////\npassword=hunter2 /\"", "=\"/.:////\npassword=[redacted] /\""),
        ("open /home/ada/scan.tif: denied", "open [path]: denied"),
        ("path=/srv/x.tif", "path=[path]"),
        ("in ~/scans today", "in ~[path] today"),
        ("C:\\Users\\ada\\x.tif", "[path]"),
        ("file:///etc/passwd", "[path]"),
        ("/srv/data/../../etc/passwd", "[path]"),
        ("key ghp_0123456789abcdef0123", "key [redacted]"),
        ("basic YWxhZGRpbjpvcGVu", "basic [redacted]"),
        (r#"{"password":"hunter2","user":"bob"}"#, r#"{"password":"[redacted]","user":"bob"}"#),
        (r#"{\"api_key\": \"k 1\"}"#, r#"{\"api_key\": \"[redacted]"}"#),
        ("api_key: Some(\"k1\")", "api_key: [redacted](\"[redacted]\")"),
        ("password=\"my long phrase\" x", "password=\"[redacted]\" x"),
        ("password=[redacted]hunter2", "password=[redacted][redacted]"),
        ("cookie: a=1; b=2\nnext", "cookie: [redacted]; [redacted]\nnext"),
        ("at \"/v1/ ghp_0123456789abcdef\"", "at \"/v1/ [redacted]\""),
        ("/v1/designs/ghp_0123456789abcdef", "[redacted]"),
        ("https://example.org/ada@example.org", "https://example.org/[email]"),
    ];
    for (given, expected) in cases {
        assert_eq!(scrubber().scrub(given), expected, "{given}");
    }
}

#[test]
fn ordinary_text_is_not_touched() {
    for text in [
        "Model inference completed successfully",
        "density 4.43 g/cm3 at 1/2 load",
        "wrote /srv/data/job/1.json",
        "POST /v1/designs/{id} 202",
        "https://example.org/a/b",
        "basic checks passed",
        "the token is invalid",
        "2026-01-02T03:04:05.000006Z",
    ] {
        assert!(matches!(scrubber().scrub(text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn keys_tell_secrets_whatever_their_spelling() {
    let scrubber = scrubber();
    for key in ["Authorization", "api_key", "X-API-Key", "access_token", "licence_key"] {
        assert_eq!(scrubber.scrub_field(key, "x"), REDACTED, "{key}");
    }
    let long = format!("{}_token", "a".repeat(60));
    assert_eq!(scrubber.scrub_field(&long, "x"), REDACTED);
    assert_eq!(scrubber.scrub_field("endpoint", "/x/y/z"), "/x/y/z");
    assert_eq!(scrubber.scrub_field("tokens_used", "12"), "12");
}

proptest! {
    #[test]
    fn no_text_panics_or_swells(text in "\\PC{0,80}") {
        let once = scrubber().scrub(&text).into_owned();
        prop_assert!(once.len() <= 12 * text.len().max(1));
    }

    #[test]
    fn what_is_scrubbed_stays_as_it_is(
        words in proptest::collection::vec(
            prop_oneof![
                Just("password"), Just("token="), Just("Bearer"), Just("cookie:"), Just("\""),
                Just(":"), Just("="), Just(" "), Just("/home/x"), Just("a@b.c"), Just("://"),
                Just("[redacted]"), Just("[path]"), Just("("), Just("\\"), Just("x:/y"),
                Just("~"), Just("\n"), Just("word"), Just("@"), Just("ghp_0123456789abcdef"),
            ],
            0..12,
        ),
    ) {
        let scrubber = scrubber();
        let once = scrubber.scrub(&words.concat()).into_owned();
        prop_assert_eq!(scrubber.scrub(&once), once.as_str());
    }

    #[test]
    fn a_planted_token_never_survives(
        before in "[a-z ]{0,20}", after in "[a-z ]{0,20}", token in "[A-Za-z0-9]{12,30}",
    ) {
        for text in [
            format!("{before} token={token} {after}"),
            format!("{before} Bearer {token} {after}"),
            format!("{before} /home/{token}/x {after}"),
            format!("{before} {token}@example.org {after}"),
        ] {
            prop_assert!(!scrubber().scrub(&text).contains(&token), "{}", text);
        }
    }
}
