import { foldName, labelsWithin, joinName, type Name } from "../message/name.ts";
import { type Answer, type Handler, whenSettled } from "./resolver.ts";
import type { Rewrite } from "./settings.ts";

/**
 * Asks for another name, and answers in the one asked for: what stands at the other name seems to stand
 * at this one. A rule for the whole name goes before one for the names below, of those the longest. An
 * answer is not rewritten again.
 */
export function rewriteHandler(rules: readonly Rewrite[]): Handler {
  const whole = new Map(
    rules.filter(({ kind }) => kind === "name").map(({ from, to }) => [foldName(from), to]),
  );
  const below = rules
    .filter(({ kind }) => kind === "below")
    .map(({ from, to }) => ({ from: foldName(from), to }))
    .toSorted((a, b) => b.from.length - a.from.length);
  const targetOf = (name: Name): Name | undefined => {
    const target = whole.get(name);
    if (target !== undefined) return target;
    for (const { from, to } of below) {
      const labels = labelsWithin(name, from);
      // A name that becomes too long is none: it is left as it is.
      if (labels !== undefined && labels.length > 0) return joinName(labels, to);
    }
    return undefined;
  };
  return (query, next) => {
    const { name } = query.question;
    const target = targetOf(foldName(name));
    if (target === undefined) return next(query);
    const answer = next({ ...query, question: { ...query.question, name: target } });
    return whenSettled(answer, (settled) => renamed(settled, target, name));
  };
}

function renamed(answer: Answer, from: Name, to: Name): Answer {
  const folded = foldName(from);
  const answers = answer.answers.map((record) =>
    foldName(record.name) === folded ? { ...record, name: to } : record,
  );
  return { ...answer, answers };
}
