// A container image made here, of nothing but Debian's static busybox: an OCI image layout
// (opencontainers/image-spec, image-layout.md) in a tar archive, which every runtime reads.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { arch, tmpdir } from "node:os";
import { join } from "node:path";

export const imageName = "localhost/fairlead/busybox:1";

const applets = [
  "sh",
  "cat",
  "echo",
  "hostname",
  "httpd",
  "ip",
  "nslookup",
  "ping",
  "sleep",
  "wget",
];

/** Writes the archive. Its default command sleeps. */
export function writeImage(archive: string): void {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-image-"));
  try {
    const blobs = join(directory, "layout", "blobs", "sha256");
    mkdirSync(blobs, { recursive: true });
    const layer = writeRootFilesystem(directory);
    const store = (mediaType: string, content: Buffer): Descriptor => {
      const hash = createHash("sha256").update(content).digest("hex");
      writeFileSync(join(blobs, hash), content);
      return { mediaType, digest: `sha256:${hash}`, size: content.length };
    };
    const rootfs = store("application/vnd.oci.image.layer.v1.tar", readFileSync(layer));
    const config = store(
      "application/vnd.oci.image.config.v1+json",
      json({
        architecture: arch() === "x64" ? "amd64" : arch(),
        os: "linux",
        config: { Env: ["PATH=/bin"], Cmd: ["sleep", "infinity"] },
        rootfs: { type: "layers", diff_ids: [rootfs.digest] },
      }),
    );
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const manifest = store(
      mediaType,
      json({ schemaVersion: 2, mediaType, config, layers: [rootfs] }),
    );
    const annotations = { "org.opencontainers.image.ref.name": imageName };
    const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
    writeFileSync(join(directory, "layout", "index.json"), json(index));
    writeFileSync(join(directory, "layout", "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
    execFileSync("tar", ["-C", join(directory, "layout"), "-cf", archive, "."]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

function writeRootFilesystem(directory: string): string {
  const root = join(directory, "root");
  for (const name of ["bin", "etc", "proc", "sys", "dev", "tmp", "www"]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  cpSync("/bin/busybox", join(root, "bin", "busybox"));
  for (const applet of applets) symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "etc", "passwd"), "root:x:0:0::/:/bin/sh\n");
  writeFileSync(join(root, "www", "index.html"), "served by busybox\n");
  const layer = join(directory, "layer.tar");
  execFileSync("tar", ["-C", root, "--owner=0", "--group=0", "-cf", layer, "."]);
  return layer;
}
