/** What a fault strikes, and so what its occasions are counted in. */
export type FaultSubject =
  | 'request'
  | 'upload'
  | 'list'
  | 'retrieval'
  | 'download'
  | 'batch'
  | 'hostile'
  | 'execution'
  | 'line';

/** What a rule may say about some faults, and not about others. */
export const faultDetails = ['code', 'status', 'share', 'line', 'prompt', 'to'] as const;
export type FaultDetail = (typeof faultDetails)[number];

type Description = {
  subject: FaultSubject;
  help: string;
  /** How long it lasts where the rule does not say; without it the fault takes no `ms`. */
  ms?: number;
  /** How many megabytes it sends where the rule does not say; without it the fault takes no `mb`. */
  mb?: number;
  /** What else a rule may say about it. */
  takes?: readonly FaultDetail[];
};

/** The share of `expires` and `cancels` where the rule does not say. */
export const usualShare = 0.7;

/** The statuses that `request_fails` takes turns with. */
export const usualStatuses = [400, 429, 500, 0];

/** Every fault that the simulator has, in the order of its help. */
export const faultDescriptions = {
  http_429: { subject: 'request', help: 'refused: rate_limit_exceeded, with Retry-After: 1; nothing done' },
  http_500: { subject: 'request', help: 'a server error; nothing done' },
  http_502: { subject: 'request', help: "a proxy's HTML page; nothing done" },
  http_503: { subject: 'request', help: 'overloaded; nothing done' },
  timeout_before: {
    subject: 'request',
    help: 'the connection is held for ms, then dropped; nothing done',
    ms: 120_000,
  },
  reset_before: { subject: 'request', help: 'the connection is reset at once; nothing done' },
  token_limit_400: { subject: 'request', help: 'create is refused: 400 token_limit_exceeded; nothing done' },
  token_limit_429: { subject: 'request', help: 'create is refused: 429 token_limit_exceeded; nothing done' },
  http_500_after: { subject: 'request', help: 'it is done, and then answered with a server error' },
  http_502_after: { subject: 'request', help: "it is done, and then answered with a proxy's HTML page" },
  http_503_after: { subject: 'request', help: 'it is done, and then answered as overloaded' },
  timeout_after: {
    subject: 'request',
    help: 'it is done; the connection is held for ms, then dropped',
    ms: 120_000,
  },
  reset_after: { subject: 'request', help: 'it is done, and the connection reset' },
  late_effect: {
    subject: 'request',
    help: 'the connection is reset once the request is read; it is done ms later',
    ms: 2_000,
  },
  upload_redirect: {
    subject: 'upload',
    help: 'answered, once it is read, with 307 to the address; nothing done',
    takes: ['prompt', 'to'],
  },
  list_endless: {
    subject: 'list',
    help: 'has_more on every page, and new ids, created now; none of them is of a real entry',
  },
  list_broken: {
    subject: 'list',
    help: 'no entry, numbers and 6,000 characters as ids, objects as metadata, around the real entries',
  },
  retrieve_down: {
    subject: 'retrieval',
    help: 'from then on, for ms, retrieving that batch answers 500; once in its life',
    ms: 180_000,
  },
  download_cut: {
    subject: 'download',
    help: 'a part of the bytes: by turns the connection breaks, or the body ends as if whole',
  },
  list_lags: { subject: 'batch', help: 'missing from the list while younger than ms', ms: 5_000 },
  not_found_at_first: {
    subject: 'batch',
    help: 'retrieving it answers 404 while it is younger than ms',
    ms: 5_000,
  },
  empty_ids: { subject: 'batch', help: '"" in place of null for output_file_id and error_file_id' },
  stuck_validating: { subject: 'batch', help: 'stays in validating for ms', ms: Number.POSITIVE_INFINITY },
  stuck_in_progress: {
    subject: 'batch',
    help: 'stays in in_progress for ms, with nothing executed',
    ms: Number.POSITIVE_INFINITY,
  },
  stuck_finalizing: {
    subject: 'batch',
    help: 'stays in finalizing for ms, with everything executed',
    ms: Number.POSITIVE_INFINITY,
  },
  fails_validation: {
    subject: 'batch',
    help: 'ends as failed, for code; with prompt: where lines hold it, which are named',
    takes: ['code', 'line', 'prompt'],
  },
  expires: {
    subject: 'batch',
    help: 'ends as expired with share of its requests executed',
    takes: ['share'],
  },
  cancels: {
    subject: 'batch',
    help: 'ends as cancelled with share of its requests executed',
    takes: ['share'],
  },
  no_output_file: { subject: 'batch', help: 'its answers are paid for, and its output file is not there' },
  no_final_newline: { subject: 'batch', help: 'its files end without a newline' },
  absurd_counts: {
    subject: 'batch',
    help: 'its usage and request_counts hold 1e308, 9e18, -1, texts, objects, by turns',
  },
  absurd_errors: {
    subject: 'batch',
    help: 'ends as failed, for errors whose codes are objects, with megabytes of message',
  },
  create_lost: { subject: 'hostile', help: 'it is created, and the connection reset' },
  create_same_id: {
    subject: 'hostile',
    help: 'its create is answered with the id of the first batch struck',
  },
  retrieve_drips: { subject: 'hostile', help: 'retrieved, it sends a byte each ms, without end', ms: 2_000 },
  retrieve_bomb: {
    subject: 'hostile',
    help: 'retrieved, it is mb of blanks, gzipped, and then itself',
    mb: 1_024,
  },
  retrieve_huge: { subject: 'hostile', help: 'retrieved, it has a member of mb', mb: 512 },
  retrieve_not_utf8: {
    subject: 'hostile',
    help: 'retrieved, it has bytes that are not UTF-8 in its metadata',
  },
  retrieve_redirect: {
    subject: 'hostile',
    help: 'retrieved, it is answered with 302 to the address',
    takes: ['to'],
  },
  download_drips: {
    subject: 'hostile',
    help: 'its result files come a byte each ms, and blanks after their end, without end',
    ms: 2_000,
  },
  download_bomb: {
    subject: 'hostile',
    help: 'its result files come gzipped, with mb of blank lines before them',
    mb: 4_096,
  },
  download_long_line: { subject: 'hostile', help: 'its result files begin with a line of mb', mb: 512 },
  download_nested: { subject: 'hostile', help: 'its result files begin with a line of mb of [', mb: 60 },
  download_blanks: { subject: 'hostile', help: 'its result files go on with blank lines, without end' },
  download_foreign: { subject: 'hostile', help: 'its result files go on with lines of others, without end' },
  download_not_utf8: {
    subject: 'hostile',
    help: 'the first blank of each line of its result files is the byte ff instead',
  },
  download_redirect: {
    subject: 'hostile',
    help: 'its result files are answered with 302 to the address',
    takes: ['to'],
  },
  request_fails: {
    subject: 'execution',
    help: 'an error of status, in response; error is null',
    takes: ['status', 'code', 'prompt'],
  },
  request_fails_bare: {
    subject: 'execution',
    help: 'an error with code and message, in error; response is null',
    takes: ['prompt'],
  },
  request_absurd: {
    subject: 'execution',
    help: 'an error with objects, 200,000 arrays in each other, or megabytes as its members, by turns',
    takes: ['prompt'],
  },
  answer_refused: {
    subject: 'execution',
    help: 'paid for: the model declines, in refusal; no content',
    takes: ['prompt'],
  },
  answer_filtered: {
    subject: 'execution',
    help: 'paid for: half of the answer, ended by content_filter',
    takes: ['prompt'],
  },
  answer_cut: {
    subject: 'execution',
    help: 'paid for: half of the answer, ended by length',
    takes: ['prompt'],
  },
  answer_not_json: { subject: 'execution', help: 'paid for: prose in place of JSON', takes: ['prompt'] },
  answer_off_schema: {
    subject: 'execution',
    help: 'paid for: {"unexpected": true}, whatever the schema requires',
    takes: ['prompt'],
  },
  answer_off_type: {
    subject: 'execution',
    help: 'paid for: fits the schema with huge integers and U+0000, which Postgres cannot store',
    takes: ['prompt'],
  },
  line_missing: { subject: 'line', help: 'not there' },
  line_doubled: { subject: 'line', help: 'there twice' },
  line_unknown: { subject: 'line', help: "followed by one with a stranger's custom_id" },
  line_foreign: { subject: 'line', help: "followed by one with the custom_id of another batch's row" },
  line_misplaced: {
    subject: 'line',
    help: 'followed by one with another place or chunk in its custom_id, by turns in and beyond what there is',
  },
  line_absurd_usage: { subject: 'line', help: 'with 1e308, 9e18, -1, texts, objects as its usage, by turns' },
  line_truncated: { subject: 'line', help: 'cut in its middle; the lines around it are whole' },
} as const satisfies Record<string, Description>;

export type FaultName = keyof typeof faultDescriptions;

export const faultNames = Object.keys(faultDescriptions) as FaultName[];

/** What is said about a fault, in the one shape that all of them have. */
export function describeFault(fault: FaultName): Description {
  return faultDescriptions[fault];
}
