//! The page as a browser reads it: the data out of the HTML, and the same look-up as its script's.

use std::fmt::Write as _;

use gpuseal::domain::DriverVersion;
use gpuseal::report::why::Link;
use serde_json::Value;

/// The data of a page.
pub(crate) struct Page(Value);

/// A question as the form holds it: places in the lists, and the driver as text.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) card: usize,
    pub(crate) driver: Option<String>,
    pub(crate) python: usize,
    pub(crate) platform: usize,
}

/// What the page says to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Fits {
        torch: String,
        floor: Option<String>,
        links: Vec<(String, String, String)>,
        notes: Vec<String>,
    },
    None {
        unknown: bool,
        clash: Vec<String>,
        reasons: Vec<String>,
        cures: Vec<String>,
    },
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|v| v.as_i64().expect("a number")).collect()
}

fn place(number: i64) -> usize {
    usize::try_from(number).expect("a place")
}

impl Page {
    /// Finds the data in the HTML.
    pub(crate) fn read(html: &str) -> Self {
        let open = "<script type=\"application/json\" id=\"data\">";
        let from = html.find(open).expect("the data") + open.len();
        let to = from + html[from..].find("</script>").expect("its end");
        Self(serde_json::from_str(&html[from..to]).expect("JSON"))
    }

    fn at(&self, table: &str, place: usize) -> &Value {
        &self.0[table][place]
    }

    /// Entries of a list.
    pub(crate) fn texts(&self, name: &str) -> Vec<Option<String>> {
        let all = self.0[name].as_array().expect("a list");
        all.iter().map(|text| text.as_str().map(str::to_owned)).collect()
    }

    /// Name and name for the command line of each card.
    pub(crate) fn cards(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let all = self.0["cards"].as_array().expect("cards");
        all.iter().map(|card| (text(&card[0]), text(&card[1]))).collect()
    }

    /// The branches.
    pub(crate) fn branches(&self) -> Vec<u64> {
        let all = self.0["branches"].as_array().expect("branches");
        all.iter().map(|row| row[0].as_u64().expect("a branch")).collect()
    }

    /// What the page says.
    pub(crate) fn answer(&self, question: &Question) -> Said {
        let card = self.at("cards", question.card);
        let class = place(card[4].as_i64().expect("a class"));
        let row =
            self.0["grid"][class][question.platform][question.python].as_u64().expect("a row");
        let row = self.at("rows", usize::try_from(row).expect("a place"));
        let mut branch = None;
        let mut number = String::new();
        let answer = match &question.driver {
            None => row[0].as_i64(),
            Some(given) => {
                let driver: DriverVersion = given.parse().expect("a driver");
                let all = self.branches();
                let at = all.iter().position(|b| *b == u64::from(driver.branch)).expect("a branch");
                branch = Some(at);
                let bare = driver.is_bare_branch();
                let first = self.at("branches", at)[2].as_str().unwrap_or_default();
                number = if bare { first.to_owned() } else { driver.to_string() };
                let exceptions = numbers(&row[2]);
                let alone = exceptions.chunks(2).find(|pair| bare && place(pair[0]) == at);
                let [_, minor, patch] = number.parse::<DriverVersion>().expect("one").numbers();
                let steps = numbers(&row[1][at]);
                let passed =
                    |step: &&[i64]| (i64::from(minor), i64::from(patch)) >= (step[0], step[1]);
                let step = steps[1..].chunks(3).take_while(passed).last();
                Some(alone.map_or_else(|| step.map_or(steps[0], |step| step[2]), |pair| pair[1]))
            }
        };
        let answer = numbers(self.at("answers", place(answer.expect("an answer"))));
        let given = question.driver.clone().unwrap_or_default();
        let words = |text: &str| {
            text.replace("CARD-AS-GIVEN", card[1].as_str().expect("a name"))
                .replace("CARD-BY-NAME", card[0].as_str().expect("a name"))
                .replace("DRIVER-AS-GIVEN", &given)
                .replace("DRIVER-OF-HOST", &number)
        };
        let text = |i: i64| words(self.at("texts", place(i)).as_str().expect("a text"));
        let list = |i: i64| numbers(self.at("lists", place(i)));
        let finding = |i: &i64| {
            let row = self.at("findings", place(*i));
            let mut said = format!("{} {} {}", row[0], row[1], text(row[2].as_i64().expect("one")));
            for fact in numbers(&row[3]).chunks(2) {
                let pair = match (text(fact[0]).as_str(), branch) {
                    ("FACT-OF-BRANCH", Some(at)) => {
                        let row = self.at("branches", at);
                        let cuda = row[1].as_str().expect("a CUDA");
                        let source = row[5].as_str().expect("a source");
                        format!("branch {} implements CUDA {cuda} [{source}]", row[0])
                    }
                    (said, _) => format!("{said} [{}]", text(fact[1])),
                };
                let _ = write!(said, "\n= {pair}");
            }
            said
        };
        if answer[0] < 0 {
            return Said::None {
                unknown: answer[0] == -2,
                clash: list(answer[1]).into_iter().map(text).collect(),
                reasons: list(answer[2]).iter().map(finding).collect(),
                cures: list(answer[3])
                    .chunks(2)
                    .map(|pair| format!("{} -> {}", text(pair[0]), text(pair[1])))
                    .collect(),
            };
        }
        let stack = self.at("stacks", place(answer[0]));
        let link = |i: i64| {
            let row = numbers(self.at("links", place(i)));
            (text(row[0]), text(row[1]), text(row[2]))
        };
        let own: Vec<_> = numbers(&card[6]).into_iter().map(link).collect();
        let mut links = Vec::new();
        for i in list(stack[16].as_i64().expect("a chain")) {
            match i {
                -1 => links.extend(own.iter().filter(|l| l.0 == "gpu").cloned()),
                -2 => links.extend(own.iter().filter(|l| l.0 != "gpu").cloned()),
                i => links.push(link(i)),
            }
        }
        if answer[4] >= 0 {
            let end = links.iter().rposition(|l| l.0 == "driver").expect("a driver");
            links.insert(end, link(answer[4]));
        }
        let cuda = links.iter().position(|l| l.0 == "CUDA").expect("a CUDA");
        links.splice(cuda..cuda, list(answer[3]).into_iter().map(link));
        let shown = |i: usize| stack[i].as_str().map(str::to_owned);
        Said::Fits {
            torch: format!("{}+{}", shown(0).expect("torch"), shown(1).expect("a build")),
            floor: shown(12),
            links,
            notes: list(answer[1]).iter().map(finding).collect(),
        }
    }
}

/// A link in the same shape.
pub(crate) fn plain(link: &Link) -> (String, String, String) {
    (link.link.to_owned(), link.text.clone(), link.source.clone())
}
