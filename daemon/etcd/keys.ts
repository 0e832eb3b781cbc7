// Where what lies under the prefix:
//   cluster                        whose prefix it is
//   sweep                          which node has swept what is left of others; gone when the next may
//   claims/…                       ipam/claims
//   objects/Node/node-a            Kubernetes objects, as JSON: kind, namespace where the kind has one,
//   objects/Service/shop/web       and name

export interface EtcdKeys {
  readonly marker: string;
  readonly sweep: string;
  readonly claims: string;
  readonly objects: string;
}

/** @param prefix without a slash at its end. */
export const keysUnder = (prefix: string): EtcdKeys => ({
  marker: `${prefix}/cluster`,
  sweep: `${prefix}/sweep`,
  claims: `${prefix}/claims/`,
  objects: `${prefix}/objects/`,
});

/** `objects/Service/shop/web` is `Service shop/web` everywhere else; undefined for a key that is none. */
export function objectAt(key: string, { objects }: EtcdKeys): string | undefined {
  const parts = key.slice(objects.length).split("/");
  const [kind = "", ...name] = parts;
  const isOne = (name.length === 1 || name.length === 2) && !parts.includes("");
  return isOne ? `${kind} ${name.join("/")}` : undefined;
}

/** @param object as `Service shop/web`. */
export const keyOfObject = (object: string, { objects }: EtcdKeys): string =>
  objects + object.replace(" ", "/");
