//! The words in generated records.

pub(super) const PLATFORMS: [&str; 10] = [
    "linux1804-64-shippable-qr",
    "linux2404-64-shippable",
    "linux64",
    "macosx1470-64-shippable",
    "macosx1500-aarch64-shippable",
    "windows11-64-24h2-shippable",
    "windows11-64-24h2-hw-ref-shippable",
    "windows2012-64-shippable",
    "android-hw-p6-13-0-aarch64-shippable-qr",
    "android-hw-a55-14-0-aarch64-shippable",
];

/// Hash and name of the option collection.
pub(super) const OPTIONS: [(&str, &str); 4] = [
    ("102210fe594ee9b33d82058545b1ed14f4c8206e", "opt"),
    ("102210fe594ee9b33d82058545b1ed14f4c8206e", "opt"),
    ("32faaecac742100f7753f0c1d0aa0add01b4046b", "debug"),
    ("45407e5a28923703d477907828816108e1604996", "pgo"),
];

pub(super) const SUITES: [&str; 24] = [
    "tp5o",
    "tp6-wikipedia",
    "tsvgx",
    "tscrollx",
    "tart_flex",
    "damp",
    "speedometer3",
    "jetstream2",
    "motionmark-1-3",
    "build times",
    "num_static_constructors",
    "Base Content JS",
    "Resident Memory",
    "nytimes",
    "youtube-playback",
    "google-docs",
    "AreWeFastYet-assorted",
    "simple.netmonitor",
    "PerfStrip",
    "réseau",
    "screenshot",
    "welcome",
    "clone",
    "日本語-ページ",
];

pub(super) const TESTS: [&str; 28] = [
    "fcp",
    "dcf",
    "loadtime",
    "ContentfulSpeedIndex",
    "SpeedIndex",
    "PerceptualSpeedIndex",
    "LastVisualChange",
    "FirstVisualChange",
    "largestContentfulPaint",
    "fnbpaint",
    "cpuTime",
    "powerUsage",
    "wallclock-for-tracking-only-size-benchmark",
    "TodoMVC-jQuery/Adding100Items/Sync",
    "Editor-CodeMirror/Async",
    "Charts-chartjs/total",
    "ParallelMarking",
    "libxul.so",
    "score",
    "it's 'quoted'",
    "a,b;\"c\"",
    "réseau – latence",
    "日本語 ページ",
    "emoji 🚀",
    "back\\slash",
    "Style-sheets/naïve",
    "decode-h264",
    "gc-time",
];

pub(super) const TAGS: [&[&str]; 6] =
    [&[], &[], &["power"], &["pageload", "numwebsites"], &["interactive"], &["sheriffed", "critical-path", "memory"]];

pub(super) const EXTRA_OPTIONS: [&[&str]; 7] = [
    &[],
    &["nova"],
    &["e10s", "stylo"],
    &["cold", "nocondprof"],
    &["fission", "webrender", "warm"],
    &["e10s", "fission", "stylo", "webgl-ipc", "webrender-sw"],
    &["bytecode-cached", "cold", "fission", "gpu", "live", "webrender"],
];

pub(super) const APPLICATIONS: [&str; 6] = ["firefox", "firefox", "fenix", "chrome", "custom-car", ""];

pub(super) const UNITS: [Option<&str>; 7] =
    [Some("ms"), Some("ms"), Some("score"), Some("bytes"), Some("%"), Some(""), None];

pub(super) const MACHINES: [&str; 6] =
    ["t-linux64-ms", "t-nuc13", "t-gecko-t-bitbar", "t-mac-m4", "t-win11-ref", "gecko-t-linux-2404-wayland"];

pub(super) const REASONS: [&str; 3] = ["", "scheduled", "backfill"];

pub(super) const SHERIFFS: [Option<&str>; 5] =
    [None, None, Some("asheriff"), Some("b.oncall"), Some("perf-sheriff-bot")];

pub(super) const NOTES: [Option<&str>; 7] = [
    None,
    None,
    Some(""),
    Some("plain note"),
    Some("line one\nline two\r\nline three"),
    Some("He said \"quote\", then 'apostrophe', comma, semi; tab\there"),
    Some("naïve – 日本語 ☕ \u{2028} sep"),
];

pub(super) const PERFORMANCE_TAGS: [&[&str]; 5] =
    [&[], &[], &["infra"], &["improvement-backedout", "infra"], &["early-beta-or-earlier"]];

pub(super) const NOISE_PROFILES: [&str; 4] = ["SKEWED", "MODAL", "OUTLIERS", "OK"];

pub(super) const DESCRIPTIONS: [&str; 6] = [
    "Rework the frobnicator. r=reviewer,perf-reviewers",
    "Make \"quoted\" things fast\n\nDifferential Revision: https://phabricator.example/D1759155",
    "Naïve café ☕ – unicode 日本語 r=x",
    "Use a faster path for\ttabs and back\\slashes r=y",
    "Backed out 2 changesets for causing regressions. CLOSED TREE",
    "Update web-platform-tests expectations a=testonly",
];
