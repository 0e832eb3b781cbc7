// The rows: cases of the CNI protocol and of the reference plugins that are held against fairlead, each
// by an id of its area and a number. A test that shows one has the id in its title, and ids are not
// given anew: the gaps are rows that others say already.
//
// What only another plugin could show is named in `notOurs`, with the reason.

/** Area → the numbers of its rows. */
const numbers = {
  // The dispatcher: environment, standard input, versions.
  disp: `01 03 04 06 07 09 10 12 13 15 16 18 19 21 22 24 25 27 28 30 31 33 34 36 37 39 40 42 43 45 46 48
    49 51 52 54 55 57 58 60 61 63 64 66 67 69 70 72 73 75 76 78 79 81 82 84 85 87 88 90`,
  // Results and previous results.
  result: "01 03 04 06 07 09 10 12 13 15 16 18 19 21 22 24 25 27 28 30 31 33 34 36 37 39 40",
  // CNI_ARGS.
  args: "01 02 04 05 07 08 10 11 13 14",
  // The runtime's side: libcni.
  libcni: `01 02 04 05 07 08 10 11 13 14 16 17 19 20 22 23 25 26 28 29 31 32 34 35 37 38 40 41 43 44 46 47
    49 50 52 53 55 56 58`,
  // host-local: its configuration, what it gives, its files.
  "hl-conf": `01 03 04 06 07 09 10 12 13 15 16 18 19 21 22 24 25 27 28 30 31 33 34 36 37 39 40 42 43 45 46
    48`,
  "hl-alloc": `01 03 04 06 07 09 10 12 13 15 16 18 19 21 22 24 25 27 28 30 31 33 34 36 37 39 40 42 43 45
    46`,
  "hl-disk": "02 03 05 06 08 09 11 12 14 15 17 18 20 21 23 24 26 27",
  // Delegated IPAM plugins.
  deleg: "02 03 05 06 08 09 11 12 14",
  bridge: "01 03 04 06 07 09 10 12 13 15 16 18 19 21 22 24 25 27 28 30 31 33 34 36",
  ptp: "01 03 04 06 07",
  // Masquerading.
  masq: "01 02 04 05 07 08",
  // loopback.
  lo: "01 02 04 05",
  portmap: `02 03 05 06 08 09 11 12 14 15 17 18 20 21 23 24 26 27 29 30 32 33 35 36 38 39 41 42 44 45 47`,
  // bandwidth.
  bw: "01 03 04 06 07 09 10 12 13 15 16 18 19 21 22 24",
  // firewall.
  fw: "01 03 04 06 07 09 10 12 13 15 16 18",
  tuning: "01 03 04 06 07 09 10 12 13 15 16 18 19",
  static: "01 02 04 05 07 08 10",
  flannel: "01 03 04 06 07 09 10 12 13 15 16",
  // What runtimes send, and in which order.
  rt: "01 02 04 05 07 08 10 11 13 14 16 17 19 20 22 23",
} as const;

type Area = keyof typeof numbers;

const expand = (area: string, text: string): readonly string[] =>
  text.split(/\s+/).map((number) => `${area}-${number}`);

/** Every row's id, by area. */
export const rowsByArea: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(numbers).map(([area, text]) => [area, expand(area, text)]),
);

const except = (reason: string, area: Area, text: string): readonly (readonly [string, string])[] =>
  expand(area, text).map((id) => [id, reason]);

/** The rows that no request to fairlead can show, with the reason. */
export const notOurs: ReadonlyMap<string, string> = new Map([
  ...except("no plugin's versions are asked", "disp", "87 88"),
  ...except("configuration by name: the lab takes the node's first", "libcni", "01 02 04 05"),
  ...except("the lab's runtime never checks", "libcni", "16 17 40 41"),
  ...except("files beside a list: not read by the lab", "libcni", "19 20 23 25"),
  ...except("the lab's runtime never collects or asks for the status", "libcni", "46 47 49 50"),
  ...except("the lab's runtime never validates", "libcni", "58"),
  ...except("the lab asks in one version from ADD to DEL", "libcni", "43"),
  ...except("the lab makes the names itself", "libcni", "35"),
  ...except("there is no bridge", "bridge", "03 04 06 07 09 10 12 13 15 16 18 19 22 24 25"),
  ...except("masquerading is the daemon's", "bridge", "27"),
  ...except("an interface's name follows from its attachment", "bridge", "33"),
  ...except("masquerading is the daemon's", "ptp", "03"),
  ...except("masquerading has no rule of a pod's own", "masq", "02 07 08"),
  ...except("loopback's own", "lo", "02 04 05"),
  ...except("there is one backend", "portmap", "06 08 09 11 27"),
  ...except("no packet is marked", "portmap", "15 17"),
  ...except("what is masqueraded is no option", "portmap", "20 33 36"),
  ...except("our result always lists the interface", "bw", "21 22"),
  ...except("firewall's own", "fw", "04 09 10"),
  ...except("there is no bridge", "fw", "13"),
  ...except("our result always lists the interface", "fw", "16 18"),
  ...except("tuning's own", "tuning", "06 07 13"),
  ...except("nothing is delegated by flannel's file", "flannel", "01 03 06 07 09 10 12 13 15 16"),
]);

const areas = [...rowsByArea.keys()].toSorted((a, b) => b.length - a.length);
const idPattern = new RegExp(`(?<![\\w-])(?:${areas.join("|")})-\\d\\d(?!\\d)`, "g");

/** The ids that a text names, each once. */
export const rowsIn = (text: string): readonly string[] => [...new Set(text.match(idPattern))];

/** A test that has run. */
export interface RowTest {
  readonly title: string;
  readonly isPassed: boolean;
}

/**
 * A line for each area of which a row was tested: how many of its rows passed, in every test that names
 * them.
 */
export function rowLines(tests: readonly RowTest[]): readonly string[] {
  const outcome = new Map<string, boolean>();
  for (const { title, isPassed } of tests) {
    for (const id of rowsIn(title)) outcome.set(id, isPassed && outcome.get(id) !== false);
  }
  return [...rowsByArea].flatMap(([area, ids]) => {
    const tested = ids.filter((id) => outcome.has(id));
    if (tested.length === 0) return [];
    const passed = tested.filter((id) => outcome.get(id) === true).length;
    const others = ids.filter((id) => notOurs.has(id)).length;
    const missed = ids.length - others - tested.length;
    const notes = [
      ...(others > 0 ? [`${others} not ours`] : []),
      ...(missed > 0 ? [`${missed} not run`] : []),
    ];
    const note = notes.length > 0 ? ` (${notes.join(", ")})` : "";
    return [`${area.padEnd(8)} ${passed} of ${ids.length - others} rows passed${note}`];
  });
}
