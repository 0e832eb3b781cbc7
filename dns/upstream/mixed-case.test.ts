import { expect, test } from "vitest";
import { RecordType, type ResourceRecord } from "../message/message.ts";
import { formatName, parseName } from "../message/name.ts";
import { mixedCase, withoutMixedCase } from "./mixed-case.ts";
import { queryMessage } from "./upstream-query.ts";

const name = (text: string) => parseName(text)!;
let turn = 0;
const everySecond = { below: () => turn++ % 2 };

test("mixedCase() touches letters alone", () => {
  expect(formatName(mixedCase(name("abc-1.example"), everySecond))).toMatch(/^aBc-1\.ExAmPlE$/);
});

test("withoutMixedCase() restores what points into the question, and leaves other spellings", () => {
  const mixed = name("WwW.eXample.COM");
  const record = (owner: string, target: string): ResourceRecord => ({
    name: name(owner),
    type: RecordType.CNAME,
    class: 1,
    ttl: 1,
    data: { kind: "name", name: name(target) },
  });
  const asked = { name: mixed, type: RecordType.A, class: 1 };
  const query = queryMessage(
    { question: asked, checkingDisabled: false, dnssecOk: false },
    { edns: undefined, mixCase: false },
    everySecond,
  );
  const answer = {
    ...query,
    questions: [asked],
    answers: [record("WwW.eXample.COM", "Api.eXample.COM"), record("Api.eXample.COM", "CDN.Net")],
  };
  const texts = withoutMixedCase(answer, mixed).answers.map(({ name: owner, data }) => [
    formatName(owner),
    data.kind === "name" && formatName(data.name),
  ]);
  expect(texts).toEqual([
    ["www.example.com", "Api.example.com"],
    ["Api.example.com", "CDN.Net"],
  ]);
});
