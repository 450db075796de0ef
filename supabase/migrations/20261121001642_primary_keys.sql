-- Every table has a primary key: replication, and whoever looks at a row, need a name for it. The row's own key is JSON
-- of any length, which no B-tree holds; its digest stays the unique index that it was. A number costs a row a microsecond.
-- Workers need not stop; the tables are locked for as long as it takes to write them anew.

alter table rowmill.failures add column id bigint generated always as identity primary key;
comment on column rowmill.failures.id is 'Names the failure; the row that failed is pipeline_id and key.';

alter table rowmill.answered_rows add column id bigint generated always as identity primary key;
comment on column rowmill.answered_rows.id is 'Names the entry; a row may have several, one for each input that was answered.';

alter table rowmill.row_versions add column id bigint generated always as identity primary key;
comment on column rowmill.row_versions.id is 'Names the entry; the row is pipeline_id and key.';

-- Written inside users' transactions: the key does the work of the index that was there, and is no further one.
alter table rowmill.trigger_errors add column id bigint generated always as identity;
alter table rowmill.trigger_errors add primary key (pipeline_id, happened_at, id);
drop index rowmill.trigger_errors_by_pipeline;
comment on column rowmill.trigger_errors.id is 'Tells errors of one moment apart.';
