-- Workers may call the functions that came since, and those that were made anew keep their time. Workers need not stop.

select rowmill.grant_to_workers();
