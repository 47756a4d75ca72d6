use axum::response::Html;

/// `GET /`: says what this is to whoever opens it in a browser.
pub(crate) async fn page() -> Html<&'static str> {
    Html(include_str!("index.html"))
}
