/**
 * The moments between two effects, at which a process can die and leave one without the other. A test sets a hook that
 * kills the process there; otherwise nothing listens. docs/failures.md says what closes each window.
 */
export const crashPoints = [
  'chunk_claimed', // a chunk is under a lease; nothing was read
  'rows_held', // some of its rows stand as in flight
  'intent_written', // the batch has a row and a key; the provider knows nothing
  'file_uploaded', // the provider has the file; its id is nowhere
  'file_noted', // the id is recorded; the batch does not exist
  'batch_created', // the batch exists and is paid for; its id is nowhere
  'batch_started', // its id is recorded
  'create_unanswered', // nobody knows whether the batch exists
  'polls_claimed', // due batches are taken; nobody has looked at them
  'poll_answered', // the provider has said that a batch ended; it is recorded nowhere
  'poll_recorded', // it is
  'harvest_claimed', // an ended batch is under a lease; nothing was read
  'slice_applied', // some lines of a file are in the table
  'files_applied', // all of them; the batch still counts as unread
  'harvest_finished', // it counts as read; its files are at the provider
  'file_deleted', // some of them
  'files_deleted', // none of them; the batch is not done
  'intents_claimed', // a silent worker's intents are under a lease; nobody has looked for them
  'batch_found', // one was found at the provider; its id is nowhere
  'intent_given_up', // one was not, and its rows wait again; its file is at the provider
  'sweep_claimed', // given-up intents are under a lease; nobody has searched
  'stray_recorded', // a batch that should not be is recorded; it runs
  'swept_file_deleted', // a file without a batch is gone; its intent is still to be searched for
] as const;

export type CrashPoint = (typeof crashPoints)[number];

/** Called when a point is reached; whatever it waits for, the work waits for. */
export type Reached = (point: CrashPoint) => void | Promise<void>;
