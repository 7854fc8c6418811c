//! Tables of pg_catalog about things there are none of. Clients join them; only the columns they ask for are here.

use super::table::{Cell, Facts, Kind::*, Table};

macro_rules! empty {
    ($name:literal: $($column:literal $kind:expr),*) => {
        Table { schema_name: "pg_catalog", name: $name, columns: &[$(($column, $kind)),*], rows: none }
    };
}

pub(super) const TABLES: &[Table] = &[
    empty!("pg_attrdef": "oid" Oid, "adrelid" Oid, "adnum" Int2, "adbin" Text),
    empty!("pg_auth_members": "roleid" Oid, "member" Oid, "grantor" Oid, "admin_option" Bool),
    empty!("pg_available_extensions": "name" Name, "default_version" Text, "comment" Text),
    empty!("pg_collation": "oid" Oid, "collname" Name, "collnamespace" Oid, "collowner" Oid, "collprovider" Letter,
        "collisdeterministic" Bool, "collencoding" Int4, "collcollate" Text, "collctype" Text, "colliculocale" Text),
    empty!("pg_conversion": "oid" Oid, "conname" Name, "connamespace" Oid, "conforencoding" Int4, "contoencoding" Int4,
        "condefault" Bool),
    empty!("pg_cursors": "name" Text, "statement" Text, "is_holdable" Bool, "is_binary" Bool, "is_scrollable" Bool,
        "creation_time" Timestamptz),
    empty!("pg_default_acl": "oid" Oid, "defaclrole" Oid, "defaclnamespace" Oid, "defaclobjtype" Letter, "defaclacl" Texts),
    empty!("pg_db_role_setting": "setdatabase" Oid, "setrole" Oid, "setconfig" Texts),
    empty!("pg_description": "objoid" Oid, "classoid" Oid, "objsubid" Int4, "description" Text),
    empty!("pg_enum": "oid" Oid, "enumtypid" Oid, "enumsortorder" Float8, "enumlabel" Name),
    empty!("pg_event_trigger": "oid" Oid, "evtname" Name, "evtevent" Name, "evtowner" Oid, "evtfoid" Oid, "evtenabled" Letter,
        "evttags" Texts),
    empty!("pg_extension": "oid" Oid, "extname" Name, "extowner" Oid, "extnamespace" Oid, "extversion" Text),
    empty!("pg_foreign_data_wrapper": "tableoid" Oid, "oid" Oid, "fdwname" Name, "fdwowner" Oid, "fdwhandler" Oid, "fdwvalidator" Oid,
        "fdwacl" Texts, "fdwoptions" Texts),
    empty!("pg_foreign_server": "tableoid" Oid, "oid" Oid, "srvname" Name, "srvowner" Oid, "srvfdw" Oid, "srvtype" Text, "srvversion" Text,
        "srvacl" Texts, "srvoptions" Texts),
    empty!("pg_foreign_table": "tableoid" Oid, "ftrelid" Oid, "ftserver" Oid, "ftoptions" Texts),
    empty!("pg_indexes": "schemaname" Name, "tablename" Name, "indexname" Name, "tablespace" Name, "indexdef" Text),
    empty!("pg_inherits": "inhrelid" Oid, "inhparent" Oid, "inhseqno" Int4, "inhdetachpending" Bool),
    empty!("pg_largeobject_metadata": "oid" Oid, "lomowner" Oid, "lomacl" Texts),
    empty!("pg_locks": "locktype" Text, "database" Oid, "relation" Oid, "pid" Int4, "mode" Text, "granted" Bool),
    empty!("pg_opclass": "oid" Oid, "opcname" Name, "opcmethod" Oid, "opcnamespace" Oid, "opcdefault" Bool, "opcintype" Oid),
    empty!("pg_partitioned_table": "partrelid" Oid, "partstrat" Letter, "partnatts" Int2, "partattrs" Int2s),
    empty!("pg_policy": "oid" Oid, "polname" Name, "polrelid" Oid, "polcmd" Letter, "polpermissive" Bool, "polroles" Oids,
        "polqual" Text, "polwithcheck" Text),
    empty!("pg_publication": "oid" Oid, "pubname" Name, "pubowner" Oid, "puballtables" Bool, "pubinsert" Bool, "pubupdate" Bool,
        "pubdelete" Bool, "pubtruncate" Bool, "pubviaroot" Bool),
    empty!("pg_publication_namespace": "oid" Oid, "pnpubid" Oid, "pnnspid" Oid),
    empty!("pg_publication_rel": "oid" Oid, "prpubid" Oid, "prrelid" Oid, "prqual" Text, "prattrs" Int2s),
    empty!("pg_range": "rngtypid" Oid, "rngsubtype" Oid, "rngmultitypid" Oid, "rngcollation" Oid, "rngsubopc" Oid,
        "rngcanonical" Regproc, "rngsubdiff" Regproc),
    empty!("pg_replication_slots": "slot_name" Name, "plugin" Name, "slot_type" Text, "active" Bool),
    empty!("pg_rewrite": "oid" Oid, "rulename" Name, "ev_class" Oid, "ev_type" Letter, "ev_enabled" Letter, "is_instead" Bool),
    empty!("pg_seclabels": "objoid" Oid, "classoid" Oid, "objsubid" Int4, "label" Text),
    empty!("pg_sequence": "seqrelid" Oid, "seqtypid" Oid, "seqstart" Int8, "seqincrement" Int8, "seqmax" Int8, "seqmin" Int8,
        "seqcache" Int8, "seqcycle" Bool),
    empty!("pg_sequences": "schemaname" Name, "sequencename" Name, "sequenceowner" Name, "data_type" Text),
    empty!("pg_shdescription": "objoid" Oid, "classoid" Oid, "description" Text),
    empty!("pg_stat_activity": "datid" Oid, "datname" Name, "pid" Int4, "usename" Name, "application_name" Text, "state" Text,
        "query" Text, "query_start" Timestamptz),
    empty!("pg_stat_user_tables": "relid" Oid, "schemaname" Name, "relname" Name, "n_live_tup" Int8, "n_dead_tup" Int8),
    empty!("pg_statistic_ext": "oid" Oid, "stxrelid" Oid, "stxname" Name, "stxnamespace" Oid, "stxkeys" Int2s, "stxkind" Texts,
        "stxstattarget" Int4),
    empty!("pg_subscription": "oid" Oid, "subdbid" Oid, "subname" Name, "subowner" Oid, "subenabled" Bool, "subpublications" Texts,
        "subbinary" Bool, "substream" Bool, "subtwophasestate" Letter, "subdisableonerr" Bool, "subsynccommit" Text,
        "subconninfo" Text, "subslotname" Name, "subskiplsn" Text),
    empty!("pg_trigger": "oid" Oid, "tgrelid" Oid, "tgparentid" Oid, "tgname" Name, "tgfoid" Oid, "tgtype" Int2, "tgenabled" Letter,
        "tgisinternal" Bool, "tgconstraint" Oid, "tgdeferrable" Bool, "tginitdeferred" Bool, "tgnargs" Int2),
    empty!("pg_ts_config": "oid" Oid, "cfgname" Name, "cfgnamespace" Oid, "cfgowner" Oid, "cfgparser" Oid),
    empty!("pg_ts_dict": "oid" Oid, "dictname" Name, "dictnamespace" Oid, "dictowner" Oid, "dicttemplate" Oid, "dictinitoption" Text),
    empty!("pg_ts_parser": "oid" Oid, "prsname" Name, "prsnamespace" Oid),
    empty!("pg_ts_template": "oid" Oid, "tmplname" Name, "tmplnamespace" Oid),
    empty!("pg_views": "schemaname" Name, "viewname" Name, "viewowner" Name, "definition" Text),
];

fn none(_: &Facts) -> Vec<Vec<Cell>> {
    vec![]
}
