//! The inventory: devices that the administrator knows, by MAC or address, and in which groups they are whatever they show.
//!
//! A YAML list, or CSV (RFC 4180) whose first line names the columns.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use edge_ebpf::packet::Mac;

use super::text::{mac_of, mac_text};
use crate::policy::keys::{ADDRESS, MAC};
use crate::policy::model::Ranges;
use crate::policy::problem::{Place, Problems, Source, suggest};
use crate::policy::schema::Placed;
use crate::policy::shape::{Key, Object, Shape, Text};
use crate::policy::yaml::{self, Node};
use crate::sources::oui::records;

/// Also the columns of CSV.
pub static ENTRY: Object = Object {
    name: "device",
    keys: &[
        Key::optional("mac", &MAC, "the device's MAC; this or its address"),
        Key::optional("address", &ADDRESS, "the address that it has, for devices whose MAC is not known or changes"),
        Key::optional("label", &LABEL, "what people call it"),
        Key::optional("owner", &LABEL, "whose it is"),
        Key::optional("groups", &Shape::OneOrMany(&GROUP), "groups that it is in whatever it shows: of all policies, or `policy/group`"),
        Key::optional("not_groups", &Shape::OneOrMany(&GROUP), "groups that it is not in whatever it shows"),
    ],
    choice: false,
    later: &[],
};

static LABEL: Shape = Shape::Text(Text { what: "a text", pattern: "", example: "printer on the second floor" });
static GROUP: Shape = Shape::Text(Text { what: "a group", pattern: "", example: "iaf-xiaomi/xiaomi" });

const EXAMPLE: &str = "a list: `- {mac: \"64:09:80:00:00:01\", label: printer, owner: office, groups: [printers]}`";

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    entries: Vec<Entry>,
    by_mac: HashMap<Mac, usize>,
    by_address: BTreeMap<IpAddr, usize>,
    /// The devices that were seen with the addresses.
    owners: Vec<(IpAddr, Mac)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    place: Place,
    pub label: Option<String>,
    pub owner: Option<String>,
    pub groups: Vec<Placed<GroupName>>,
    pub not_groups: Vec<Placed<GroupName>>,
}

/// A group of one policy, or of every policy that has one of this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupName {
    policy: Option<String>,
    group: String,
}

impl GroupName {
    fn of(text: &str) -> Self {
        match text.split_once('/') {
            Some((policy, group)) => Self { policy: Some(policy.to_owned()), group: group.to_owned() },
            None => Self { policy: None, group: text.to_owned() },
        }
    }

    fn is(&self, policy: &str, group: &str) -> bool {
        self.group == group && self.policy.as_ref().is_none_or(|wanted| wanted == policy)
    }
}

/// What a file says of one device.
#[derive(Default)]
struct Fields {
    mac: Option<Placed<String>>,
    address: Option<Placed<String>>,
    label: Option<String>,
    owner: Option<String>,
    groups: Vec<Placed<String>>,
    not_groups: Vec<Placed<String>>,
}

impl Inventory {
    /// Reads a file; all that is wrong in it becomes problems.
    pub fn read(path: &Path, problems: &mut Problems) -> Self {
        let mut inventory = Self::default();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let source = Arc::new(Source { path: path.to_owned(), text });
                if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
                    inventory.read_csv(&source, problems);
                } else {
                    inventory.read_yaml(&source, problems);
                }
            }
            Err(error) => {
                problems
                    .error(&Place::file(path), format!("the inventory cannot be read: {error}"))
                    .hint("write it, or remove `identity.inventory` from agent.yaml");
            }
        }
        inventory
    }

    fn read_yaml(&mut self, source: &Arc<Source>, problems: &mut Problems) {
        static LIST: Shape = Shape::List(0, &Shape::Object(&ENTRY));
        for document in yaml::read(source, problems) {
            let before = problems.errors();
            LIST.check(&document, problems);
            if problems.errors() > before {
                continue;
            }
            for node in document.items() {
                let text = |key| node.get(key).and_then(Node::text).map(str::to_owned);
                let placed = |node: &Node| Some(Placed { place: node.place.clone(), value: node.text()?.to_owned() });
                let many = |key| node.get(key).map(Node::items_or_self).unwrap_or_default().iter().filter_map(placed).collect();
                let fields = Fields {
                    mac: node.get("mac").and_then(placed),
                    address: node.get("address").and_then(placed),
                    label: text("label"),
                    owner: text("owner"),
                    groups: many("groups"),
                    not_groups: many("not_groups"),
                };
                self.add(&node.place, fields, problems);
            }
        }
    }

    fn read_csv(&mut self, source: &Arc<Source>, problems: &mut Problems) {
        let mut records = records(&source.text).into_iter();
        let Some((line, head)) = records.next() else { return };
        let columns: Vec<String> = head.iter().map(|name| name.trim().trim_start_matches('\u{feff}').to_ascii_lowercase()).collect();
        let names = || ENTRY.keys.iter().map(|key| key.name);
        let place = |line| Place::line(source, line);
        for column in columns.iter().filter(|column| !names().any(|name| name == column.as_str())) {
            let hint = suggest(column, names().collect::<Vec<_>>());
            problems.error(&keyed(place(line), column), format!("unknown column `{column}`")).hint(hint);
        }
        if !columns.iter().any(|column| column == "mac" || column == "address") {
            problems.error(&place(line), "the first line names no column `mac` or `address`").hint("such as `mac,label,owner,groups`");
            return;
        }
        for (line, record) in records {
            if record.len() > columns.len() {
                let message = format!("{} fields, and the first line names {} columns", record.len(), columns.len());
                problems.error(&place(line), message).hint("put a field with commas in quotes");
                continue;
            }
            let mut fields = Fields::default();
            for (column, value) in columns.iter().zip(record) {
                let value = value.trim();
                if value.is_empty() {
                    continue;
                }
                let placed = |value: &str| Placed { place: keyed(place(line), column), value: value.to_owned() };
                let many = || value.split([' ', ';', ',']).filter(|name| !name.is_empty()).map(placed).collect();
                match column.as_str() {
                    "mac" => fields.mac = Some(placed(value)),
                    "address" => fields.address = Some(placed(value)),
                    "label" => fields.label = Some(value.to_owned()),
                    "owner" => fields.owner = Some(value.to_owned()),
                    "groups" => fields.groups = many(),
                    "not_groups" => fields.not_groups = many(),
                    _ => {}
                }
            }
            self.add(&place(line), fields, problems);
        }
    }

    fn add(&mut self, place: &Place, fields: Fields, problems: &mut Problems) {
        let Fields { mac, address, label, owner, groups, not_groups } = fields;
        let names = |names: Vec<Placed<String>>| {
            names.into_iter().map(|Placed { place, value }| Placed { place, value: GroupName::of(&value) }).collect()
        };
        let entry = Entry { place: place.clone(), label, owner, groups: names(groups), not_groups: names(not_groups) };
        let number = self.entries.len();
        let first = match (mac, address) {
            (Some(Placed { place, value }), None) => match mac_of(&value) {
                Some(mac) => self.by_mac.insert(mac, number).map(|first| (place, mac_text(mac), first)),
                None => {
                    problems.error(&place, format!("`{value}` is not a whole MAC")).hint("six bytes, such as `64:09:80:00:00:01`");
                    return;
                }
            },
            (None, Some(Placed { place, value })) => match value.parse::<IpAddr>() {
                Ok(address) => self.by_address.insert(address, number).map(|first| (place, value, first)),
                Err(_) => {
                    problems.error(&place, format!("`{value}` is not an address")).hint("such as `192.0.2.7` or `2001:db8::7`");
                    return;
                }
            },
            (Some(_), Some(_)) => {
                problems.error(place, "this device has a MAC and an address").hint("name one of them: it is known by that");
                return;
            }
            (None, None) => {
                problems.error(place, "this device has neither `mac` nor `address`").hint(EXAMPLE);
                return;
            }
        };
        if let Some((place, what, first)) = first {
            let first = &self.entries[first].place;
            problems.error(&place, format!("`{what}` stands here twice")).related(first, "the first is here").hint("remove one of them");
        }
        self.entries.push(entry);
    }

    /// Known by the addresses, too, as they are now.
    pub fn set_owners(&mut self, owners: Vec<(IpAddr, Mac)>) {
        self.owners = owners;
    }

    pub fn owners(&self) -> &[(IpAddr, Mac)] {
        &self.owners
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// Devices that are named by their MAC, or were seen with an address that is named.
    pub fn macs(&self) -> impl Iterator<Item = Mac> {
        self.by_mac.keys().copied().chain(self.owners.iter().map(|(_, mac)| *mac))
    }

    /// What is said of a device with this MAC.
    pub fn find(&self, mac: Mac) -> Option<&Entry> {
        let by_address = || self.owners.iter().find(|(_, owner)| *owner == mac).and_then(|(address, _)| self.by_address.get(address));
        self.entries.get(*self.by_mac.get(&mac).or_else(by_address)?)
    }

    /// MACs that are in the group whatever they show, and those that are not in it.
    pub fn of_group(&self, policy: &str, group: &str) -> [Ranges<u64>; 2] {
        let macs = |names: fn(&Entry) -> &Vec<Placed<GroupName>>| {
            let named =
                self.macs().filter(|mac| self.find(*mac).is_some_and(|entry| names(entry).iter().any(|name| name.value.is(policy, group))));
            Ranges::new(named.map(|Mac(mac)| (mac, mac)).collect())
        };
        [macs(|entry| &entry.groups), macs(|entry| &entry.not_groups)]
    }

    /// Names of groups that no policy has are errors. `groups`: (policy, group) that there are.
    pub fn check(&self, groups: &[(String, String)], problems: &mut Problems) {
        let names = self.entries.iter().flat_map(|entry| entry.groups.iter().chain(&entry.not_groups));
        for Placed { place, value } in names.filter(|name| !groups.iter().any(|(policy, group)| name.value.is(policy, group))) {
            let GroupName { policy, group } = value;
            let written = policy.as_ref().map_or_else(|| group.clone(), |policy| format!("{policy}/{group}"));
            let possible: Vec<String> = match policy {
                Some(_) => groups.iter().map(|(policy, group)| format!("{policy}/{group}")).collect(),
                None => groups.iter().map(|(_, group)| group.clone()).collect(),
            };
            let hint = if possible.is_empty() {
                "no policy defines one, under `spec.devices`".to_owned()
            } else {
                suggest(&written, possible.iter().map(String::as_str))
            };
            problems.error(place, format!("no policy has a group `{written}`")).hint(hint);
        }
    }
}

fn keyed(mut place: Place, key: &str) -> Place {
    key.clone_into(&mut place.key);
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> (Inventory, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let mut problems = Problems::default();
        let inventory = Inventory::read(&path, &mut problems);
        (inventory, problems.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    const YAML: &str = "
- {mac: \"64:09:80:00:00:01\", label: phone, owner: Ada, groups: [xiaomi, p/other]}
- {mac: 64-09-80-00-00-02, not_groups: xiaomi}
- {address: 192.0.2.7, label: camera, groups: [xiaomi]}
";
    const CSV: &str = "MAC,label,owner,groups,not_groups,address\n64:09:80:00:00:01,phone,Ada,xiaomi p/other,,\n64-09-80-00-00-02,,,,xiaomi\n\n,camera,,\"xiaomi\",,192.0.2.7\n";

    #[test]
    fn yaml_and_csv_say_the_same() {
        for (name, text) in [("i.yaml", YAML), ("i.csv", CSV)] {
            let (mut inventory, problems) = read(name, text);
            assert_eq!(problems, "", "{name}");
            let [phone, other, camera] = [Mac(0x6409_8000_0001), Mac(0x6409_8000_0002), Mac(7)];
            let entry = inventory.find(phone).expect("an entry");
            assert_eq!((entry.label.as_deref(), entry.owner.as_deref()), (Some("phone"), Some("Ada")));
            assert_eq!(inventory.find(camera), None);
            inventory.set_owners(vec![("192.0.2.7".parse().expect("an address"), camera)]);
            assert_eq!(inventory.find(camera).and_then(|entry| entry.label.as_deref()), Some("camera"));
            let of =
                |policy, group| inventory.of_group(policy, group).map(|ranges| ranges.iter().map(|(mac, _)| Mac(*mac)).collect::<Vec<_>>());
            assert_eq!(of("any", "xiaomi"), [vec![camera, phone], vec![other]]);
            assert_eq!((of("p", "other"), of("q", "other")), ([vec![phone], vec![]], [vec![], vec![]]));
        }
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let (inventory, _) = read("i.csv", CSV);
        let mut problems = Problems::default();
        inventory.check(&[("p".into(), "xiaomi".into()), ("p".into(), "others".into())], &mut problems);
        let text = problems.to_string();
        assert!(text.contains("i.csv:2") && text.contains("`p/other`") && text.contains("did you mean `p/others`?"), "{text}");

        for (name, text, part) in [
            ("i.yaml", "- {mac: \"64:09:80\"}", "not a whole MAC"),
            ("i.yaml", "- {mac: \"64:09:80:00:00:01\", adress: x}", "unknown key `adress`"),
            ("i.yaml", "- {label: x}", "neither `mac` nor `address`"),
            ("i.yaml", "- {mac: \"64:09:80:00:00:01\"}\n- {mac: \"64-09-80-00-00-01\"}", "i.yaml:2:9"),
            ("i.yaml", "{}", "a list is expected"),
            ("i.csv", "mac,labl\n", "unknown column `labl`"),
            ("i.csv", "label\nx\n", "no column `mac`"),
            ("i.csv", "address\n192.0.2.300\n", "i.csv:2"),
            ("i.csv", "mac\n64:09:80:00:00:01,x\n", "2 fields"),
        ] {
            let (_, problems) = read(name, text);
            assert!(problems.contains(part), "{text}: {problems}");
        }
        let mut problems = Problems::default();
        Inventory::read(Path::new("/nowhere/i.yaml"), &mut problems);
        assert!(problems.to_string().contains("cannot be read"));
    }
}
