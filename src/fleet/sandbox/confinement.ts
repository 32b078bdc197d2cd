/** A box's directories as the host names them. `root` holds the others, except a `work` that is the operator's. */
export interface BoxPlace {
  readonly root: string;
  readonly home: string;
  readonly copilotHome: string;
  readonly work: string;
  readonly temporary: string;
}

/** The same as the process in the box names them: what goes into its environment and into `workingDirectory`. */
export interface InsidePaths {
  readonly home: string;
  readonly copilotHome: string;
  readonly work: string;
  readonly temporary: string;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** What has to be started in the place of a command, and what it reads on the descriptor 3. On 4 it tells its pid. */
export interface Launch {
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  readonly argumentsText: string;
}

/** How one process is to be confined. Made by `Sandbox.allocate`, used by `openBox`. */
export interface Confinement {
  launch(box: {
    readonly command: readonly [string, ...string[]];
    readonly environment: Readonly<Record<string, string>>;
    readonly workingDirectory: string;
  }): Launch;
  /** Kills whatever is still in the box's cgroup and removes that. Rejects with `internal` if something stays. */
  empty(): Promise<void>;
}
