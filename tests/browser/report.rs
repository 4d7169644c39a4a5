//! The report opens without console messages, its tables sort and filter, names stay text, and both colour schemes are
//! visible.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use perfharvest::actor::Shutdown;
use perfharvest::report::make_report;
use perfharvest::store::Store;

use crate::devtools::{Browser, Picture};
use crate::support::{Crawl, HOSTILE, hostile_simulator};

/// The report of a crawl of a server with hostile names; made once.
fn page() -> PathBuf {
    static PAGE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = PAGE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let crawl = runtime.block_on(async {
            let simulator = hostile_simulator(folder.path()).await;
            let crawl = Crawl::of(&simulator.url());
            crawl.run().await.unwrap();
            crawl
        });
        let store = Store::open_existing(&crawl.config.store).unwrap();
        let report = make_report(&store, &crawl.config, folder.path(), &Shutdown::new()).unwrap();
        let path = folder.path().join("report.html");
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, report.html.as_bytes()).unwrap();
        folder
    });
    folder.path().join("report.html")
}

/// The table with this caption, as an expression.
fn table(caption: &str) -> String {
    format!("[...document.querySelectorAll('.table table')].find((t) => t.caption.textContent === '{caption}')")
}

/// The texts of a column of the rows that are shown.
fn column(browser: &mut Browser, caption: &str, column: usize) -> Vec<String> {
    let expression = format!(
        "[...{}.tBodies[0].rows].filter((r) => r.checkVisibility()).map((r) => r.cells[{column}].textContent)",
        table(caption)
    );
    serde_json::from_value(browser.evaluate(&expression)).unwrap()
}

fn numbers(texts: &[String]) -> Vec<u64> {
    texts.iter().map(|text| text.replace(',', "").parse().unwrap()).collect()
}

#[test]
fn it_opens_in_silence_and_asks_for_nothing_else() {
    let mut browser = Browser::start();
    browser.open(&page());
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests(), [format!("file://{}", page().display())]);
    assert_eq!(browser.evaluate("document.querySelectorAll('main section').length"), 7);
    // The policy holds: a script injected into the page does not run.
    let injected = "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; \
                    document.body.append(s); return window.ran === undefined; })()";
    assert_eq!(browser.evaluate(injected), true);
    assert!(browser.complaints().iter().any(|complaint| complaint.contains("Content Security Policy")));
}

#[test]
fn columns_sort_by_click_and_by_key() {
    let mut browser = Browser::start();
    browser.open(&page());
    let caption = "Largest signature groups";
    let header = |column: usize| format!("{}.tHead.rows[0].cells[{column}]", table(caption));
    let as_made = numbers(&column(&mut browser, caption, 0));
    assert!(as_made.len() > 20 && as_made.is_sorted());
    assert!(browser.evaluate(&format!("{}.getAttribute('aria-sort')", header(0))).is_null());

    browser.click(&format!("{}.querySelector('button')", header(0)));
    assert_eq!(browser.evaluate(&format!("{}.getAttribute('aria-sort')", header(0))), "descending");
    assert!(numbers(&column(&mut browser, caption, 0)).iter().rev().is_sorted());

    browser.evaluate(&format!("{}.querySelector('button').focus()", header(1)));
    for direction in ["descending", "ascending"] {
        browser.press("Enter", 13, "\r");
        assert_eq!(browser.evaluate(&format!("{}.getAttribute('aria-sort')", header(1))), direction);
        let mut sizes = numbers(&column(&mut browser, caption, 1));
        assert_eq!(sizes.len(), as_made.len());
        if direction == "descending" {
            sizes.reverse();
        }
        assert!(sizes.is_sorted(), "{sizes:?}");
    }
    assert!(browser.evaluate(&format!("{}.getAttribute('aria-sort')", header(0))).is_null());

    browser.click(&format!("{}.querySelector('button')", header(4)));
    let platforms = column(&mut browser, caption, 4);
    assert!(platforms.first() < platforms.last() && platforms.len() == as_made.len());
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_is_typed_filters_rows_and_tells_how_many() {
    let mut browser = Browser::start();
    browser.open(&page());
    let caption = "Largest signature groups";
    let part = format!("{}.closest('[data-table]')", table(caption));
    let all = column(&mut browser, caption, 4);
    let platform = all[0].clone();
    let expected = all.iter().filter(|name| name.contains(&platform)).count();
    assert!(0 < expected && expected < all.len());

    browser.click(&format!("{part}.querySelector('input')"));
    browser.type_text(&platform.to_uppercase());
    let shown = column(&mut browser, caption, 4);
    assert!(shown.len() >= expected && shown.len() < all.len(), "{shown:?}");
    let found = browser.evaluate(&format!("{part}.querySelector('[data-status]').textContent"));
    assert_eq!(found, format!("{} of {} rows", shown.len(), all.len()));

    browser.type_text(" no such row");
    assert!(column(&mut browser, caption, 4).is_empty());
    browser.evaluate(&format!("{part}.querySelector('input').select()"));
    browser.press("Backspace", 8, "");
    assert_eq!(column(&mut browser, caption, 4), all);
}

#[test]
fn names_of_the_server_stay_text() {
    let mut browser = Browser::start();
    browser.open(&page());
    let title = browser.evaluate("document.title");
    assert!(title.as_str().unwrap().starts_with("autoland, "), "{title}");
    let text = browser.evaluate("document.body.textContent").as_str().unwrap().to_owned();
    for name in HOSTILE {
        assert!(text.contains(name), "{name}");
    }
    assert_eq!(browser.evaluate("document.scripts.length"), 1);
    assert_eq!(browser.evaluate("document.querySelectorAll('img, [onmouseover], [onerror]').length"), 0);
}

/// How bright a picture is, from 0 to 255.
fn brightness(picture: &Picture) -> u64 {
    let sum: u64 = picture.pixels.iter().flatten().map(|part| u64::from(*part)).sum();
    sum / (picture.pixels.len() as u64 * 3)
}

#[test]
fn both_colour_schemes_and_a_narrow_window_show_every_part() {
    let mut browser = Browser::start();
    browser.open(&page());
    for (scheme, width) in [("light", 1200), ("dark", 1200), ("light", 360), ("dark", 360)] {
        browser.show_as(width, 900, scheme);
        for section in ["header", "#coverage", "#distributions", "#alerts"] {
            browser.evaluate(&format!("document.querySelector('{section}').scrollIntoView({{behavior: 'instant'}})"));
            let picture = browser.picture();
            assert_eq!(picture.width, width as usize);
            let colours: BTreeSet<[u8; 3]> = picture.pixels.iter().step_by(3).copied().collect();
            assert!(colours.len() > 50, "{scheme} {width} {section}: {} colours", colours.len());
            // Both the upper and the lower half have content.
            for half in picture.pixels.chunks(picture.pixels.len() / 2) {
                let here: BTreeSet<&[u8; 3]> = half.iter().step_by(3).collect();
                assert!(here.len() > 10, "{scheme} {width} {section}");
            }
            let bright = brightness(&picture);
            assert!(if scheme == "light" { bright > 200 } else { bright < 90 }, "{scheme} {section}: {bright}");
        }
        // Only what scrolls by itself is wider than the window.
        assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "{scheme} {width}");
        // A chart stays readable: it does not shrink to the window, but scrolls.
        let scrolls =
            "[...document.querySelectorAll('figure .scroll')].filter(e => e.scrollWidth > e.clientWidth).length";
        let scrolling = browser.evaluate(scrolls).as_u64().unwrap();
        assert_eq!(scrolling > 4, width < 400, "{scheme} {width}: {scrolling} charts scroll");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn it_prints() {
    let mut browser = Browser::start();
    browser.open(&page());
    let pdf = browser.pdf();
    let pages = pdf.windows(11).filter(|bytes| bytes == b"/Type /Page").count();
    assert!(pdf.starts_with(b"%PDF-") && pages > 3, "{pages} pages");
}
