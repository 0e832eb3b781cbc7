import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { ownServices } from "./own-objects.ts";

test("a directory among the services' files is named", () => {
  const directory = temporaryDirectory();
  const path = join(directory, "shop.json");
  mkdirSync(path);
  const { services, problems } = ownServices("node-a", directory);
  expect(services).toEqual([]);
  expect(problems).toEqual([expect.stringMatching(/^(.*): Cannot read it: EISDIR/)]);
  expect(problems[0]).toContain(path);
});
