// What a node tells the others of its attachments: an object of fairlead's own beside Kubernetes', in the
// same form, so that a source carries it like any other.
import * as v from "valibot";
import type { Attachment } from "../../core/cluster/attachment.ts";
import { dnsLabelSchema, dnsNameSchema, ipSchema } from "../../core/schema.ts";

export const attachmentVersion = "fairlead.dev/v1";

const text = v.string("text");

export const attachmentSchema = v.object({
  metadata: v.object({ name: dnsNameSchema }),
  spec: v.object({
    nodeName: dnsNameSchema,
    network: text,
    addresses: v.array(ipSchema, "a list of addresses"),
    pod: v.exactOptional(v.object({ namespace: text, name: text })),
    aliases: v.optional(v.array(dnsLabelSchema, "a list of names"), []),
  }),
});

/** The object that another node reads this attachment from. */
export const attachmentObject = ({ id, ...spec }: Attachment) => ({
  apiVersion: attachmentVersion,
  kind: "Attachment",
  metadata: { name: id },
  spec,
});
