import { fileWorld } from "../support/file-world.ts";
import { describeSource } from "../support/source-contract.ts";

describeSource("a directory of files", fileWorld);
