/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_STORE_H
#define LB_STORE_H
/*
 * The registry's tables: what the model holds, row for row. Texts of options are kept
 * as the user wrote them. Thread: store.
 */
#include "lb/model.h"
#include "plugin/base/db.h"
#include "plugin/base/err.h"

struct lb_store;

/* Makes or updates the tables. Outside of a transaction. */
int lb_store_new(struct db *db, struct lb_store **ret, struct err *e);
void lb_store_free(struct lb_store *st);

/* Fills an empty model. Endpoints are not yet linked to services, and come in the
 * order of their positions. -EUCLEAN: the tables contradict each other. */
int lb_store_load(struct lb_store *st, struct model *m, struct err *e);
/* Writes what is pending. After an error some of it still is; repeating is fine. */
int lb_store_save(struct lb_store *st, struct model *m, struct err *e);

#endif
